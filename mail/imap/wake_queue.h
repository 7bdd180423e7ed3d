// Values from one thread to another, in their order, with a descriptor that is readable while there are some.
// Unbounded: what goes through it is bounded by the protocol (k_undecided mails, and an answer to each).
#pragma once

#include <mutex>
#include <utility>
#include <vector>

#include <sys/eventfd.h>
#include <unistd.h>

#include "core/check.h"

namespace mailotp::mail {

template <class T>
class WakeQueue {
 public:
  WakeQueue() : descriptor_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { CHECK(descriptor_ >= 0); }
  ~WakeQueue() { (void)::close(descriptor_); }
  WakeQueue(const WakeQueue&) = delete;
  WakeQueue& operator=(const WakeQueue&) = delete;

  void put(T value) {
    const std::lock_guard lock(mutex_);
    values_.push_back(std::move(value));
    if (values_.size() == 1) CHECK(::eventfd_write(descriptor_, 1) == 0);
  }
  [[nodiscard]] std::vector<T> take() {
    const std::lock_guard lock(mutex_);
    eventfd_t ignored = 0;
    (void)::eventfd_read(descriptor_, &ignored);  // nothing there: EAGAIN
    return std::exchange(values_, {});
  }
  [[nodiscard]] int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
  std::mutex mutex_;
  std::vector<T> values_;
};

}  // namespace mailotp::mail
