// A consistent copy of the database as it is at one moment, while it is in use. It has no free pages and none
// of the copies of removed rows that SQLite may leave between others; what is sealed in it stays sealed, and
// needs the key file. Its mark (core/snapshot.h) makes the first start on it a restore (store/restore.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/result.h"

namespace mailotp::store {

class Snapshot {
 public:
  // Writes it into a file of the state folder that has no name any more when this returns: it goes with this
  // object, or with the process. Reads on a connection of its own: no commit and no other reader waits, but
  // the log cannot start anew for so long. Blocking, for seconds where there are gigabytes. `wanted` is asked
  // every few milliseconds, and ends it with Errc::unavailable. Errc::no_space when the copy would leave less
  // than `keep_free` bytes of the disk. For one thread at a time a folder, that of a daemon that has it open.
  [[nodiscard]] static core::Result<Snapshot> take(const std::string& state_dir, std::int64_t keep_free,
                                                   const std::function<bool()>& wanted);
  Snapshot(Snapshot&& other) noexcept;
  Snapshot& operator=(Snapshot&& other) noexcept;
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  ~Snapshot();

  [[nodiscard]] std::uint64_t size() const { return size_; }
  // The bytes from `from` on: `most`, or those that are left.
  [[nodiscard]] core::Result<std::string> read(std::uint64_t from, std::size_t most) const;

 private:
  Snapshot(int fd, std::uint64_t size) : fd_(fd), size_(size) {}
  int fd_;
  std::uint64_t size_;
};

// What a process that was killed in the middle of take() has left; for a start.
void remove_unfinished_snapshot(const std::string& state_dir);

}  // namespace mailotp::store
