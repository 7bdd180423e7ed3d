// Signals for verbs that go on until somebody ends them. While one of these exists, SIGINT, SIGTERM, SIGHUP
// and SIGQUIT end nothing by themselves (those that are ignored stay so: nohup), so that a verb can put the
// terminal in order and end with 0.
#pragma once

#include <csignal>
#include <cstdint>

#include "core/time.h"

namespace mailotp::ctl {

class Interrupts {
 public:
  enum class Woken { time_up, ended, resized, stopped };

  // Whether Ctrl-Z is for wait(), too, or does what it does everywhere.
  enum class CtrlZ : std::uint8_t { as_usual, told };
  explicit Interrupts(CtrlZ ctrl_z = CtrlZ::as_usual);
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
