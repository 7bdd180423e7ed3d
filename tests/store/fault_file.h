// SQLite's file layer with faults: every write, sync and truncation is counted, and from the chosen one on
// all of them fail.
#pragma once

#include <cstdint>

namespace mailotp::store::test {

enum class FaultKind : std::uint8_t { none, disk_full, sync_error, write_error, short_write };

// Is SQLite's default file layer for as long as it lives.
class FaultFiles {
 public:
  FaultFiles();
  ~FaultFiles();
  FaultFiles(const FaultFiles&) = delete;
  FaultFiles& operator=(const FaultFiles&) = delete;

  // The operation number `first` (from 0, counted from now) and those that follow, `count` in all, fail:
  // writes with SQLITE_FULL, or syncs with SQLITE_IOERR_FSYNC.
  void fail_from(int first, FaultKind kind, int count = 1'000'000);
  void stop_failing();
  // Whether anything has failed since fail_from.
  [[nodiscard]] bool struck() const;
};

}  // namespace mailotp::store::test
