// Ownership of a state folder: one daemon at a time.
#pragma once

#include <string>

#include "core/result.h"

namespace mailotp::store {

// An exclusive flock(2) on state_dir/mailotpd.lock, with our pid inside for whoever comes second. The kernel
// lets go of it when the process ends, however it ends.
class StateLock {
 public:
  // Never waits. Errc::busy names the pid that holds it; Errc::io when the folder is missing or not ours to
  // write.
  [[nodiscard]] static core::Result<StateLock> acquire(const std::string& state_dir);
  StateLock(StateLock&& other) noexcept;
  StateLock& operator=(StateLock&&) = delete;
  ~StateLock();

 private:
  explicit StateLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace mailotp::store
