// Signals for verbs that go on until somebody ends them. While one of these exists, SIGINT, SIGTERM, SIGHUP
// and SIGQUIT end nothing by themselves, so that a verb can put the terminal in order and end with 0.
#pragma once

#include <csignal>

#include "core/time.h"

namespace mailotp::ctl {

class Interrupts {
 public:
  enum class Woken { time_up, ended, resized, stopped };

  Interrupts();
  ~Interrupts();  // as it was before
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // Readable when there is something for take().
  [[nodiscard]] int fd() const { return fd_; }
  // Whether the verb is to end. Never blocks.
  [[nodiscard]] bool ended();
  // Until the time is up, or something happened: `stopped` is Ctrl-Z, which has not stopped anything yet.
  [[nodiscard]] Woken wait(core::Millis pause);

 private:
  [[nodiscard]] Woken take();

  sigset_t before_{};
  int fd_ = -1;
  bool ended_ = false;
  Woken unseen_ = Woken::time_up;  // by wait(), when ended() took it
};

}  // namespace mailotp::ctl
