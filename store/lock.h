// Ownership of a state folder: one daemon at a time.
#pragma once

#include <string>
#include <utility>

#include "core/result.h"

namespace mailotp::store {

// An exclusive flock(2) on state_dir/mailotpd.lock, with our pid inside for whoever comes second. The kernel
// lets go of it when the process ends, however it ends; that it ended in good order is known because the file
// is then empty.
class StateLock {
 public:
  // Never waits. Errc::busy names the pid that holds it; Errc::io when the folder is missing or not ours to
  // write.
  [[nodiscard]] static core::Result<StateLock> acquire(const std::string& state_dir);
  StateLock(StateLock&& other) noexcept;
  StateLock& operator=(StateLock&&) = delete;
  ~StateLock();

  // The one before us had the database open and did not close it.
  [[nodiscard]] bool was_left_open() const { return left_open_; }
  // The database is open, its log is there, and from here on the log may hold what is nowhere else. Durable,
  // with the names of the folder.
  [[nodiscard]] core::Result<> mark_open();
  // Nothing is in the log that is not in the database.
  void mark_closed();

 private:
  StateLock(int fd, std::string state_dir) : fd_(fd), state_dir_(std::move(state_dir)) {}
  int fd_;
  std::string state_dir_;
  bool left_open_ = false;
};

}  // namespace mailotp::store
