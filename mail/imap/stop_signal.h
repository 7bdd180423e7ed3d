// Tells the session thread to end, whatever it waits for. The loop thread raises it, once.
#pragma once

#include <atomic>
#include <optional>

#include <sys/eventfd.h>
#include <unistd.h>

#include "core/check.h"
#include "core/time.h"
#include "mail/agent/boot_clock.h"

namespace mailotp::mail {

class StopSignal {
 public:
  StopSignal() : descriptor_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { CHECK(descriptor_ >= 0); }
  ~StopSignal() { (void)::close(descriptor_); }
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  // What is being done may take `grace` longer. A second call can only shorten it.
  void raise(core::Millis grace) {
    const core::Millis::rep until = (since_boot() + grace).count();
    if (const auto before = until_.load(); before == k_never || until < before) until_.store(until);
    CHECK(::eventfd_write(descriptor_, 1) == 0);
  }
  // Readable from then on.
  [[nodiscard]] int descriptor() const { return descriptor_; }
  // Of since_boot().
  [[nodiscard]] std::optional<core::Millis> until() const {
    const auto until = until_.load();
    return until == k_never ? std::nullopt : std::optional(core::Millis{until});
  }

 private:
  static constexpr core::Millis::rep k_never = -1;
  int descriptor_;
  std::atomic<core::Millis::rep> until_{k_never};
};

}  // namespace mailotp::mail
