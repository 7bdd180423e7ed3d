// SQLite's file layer on a disk with a cache that loses power: what was written since a file's last sync is
// kept apart, and when the power goes only a part of it has reached the file.
#pragma once

#include <cstdint>

namespace mailotp::store::test {

// What of the unsynced writes reaches the disk. Each 512 bytes by themselves, so writes are torn, and in any
// order, since any subset may remain.
enum class Survives : std::uint8_t { nothing, everything, some };

// Is SQLite's default file layer for as long as it lives.
class PowerFiles {
 public:
  PowerFiles();
  ~PowerFiles();
  PowerFiles(const PowerFiles&) = delete;
  PowerFiles& operator=(const PowerFiles&) = delete;

  // The power goes in place of the sync number `nth` from now (from 0): that one and everything after it fail
  // and reach nothing.
  void lose_at(int nth, Survives survives, std::uint64_t seed);
  [[nodiscard]] bool lost() const;
  // The power is back: the files are as the disk has them. All of them must have been closed.
  void restore();
};

}  // namespace mailotp::store::test
