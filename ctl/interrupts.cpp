#include "ctl/interrupts.h"

#include <utility>

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/check.h"

namespace mailotp::ctl {

Interrupts::Interrupts(CtrlZ ctrl_z) {
  sigset_t wanted{};
  (void)sigemptyset(&wanted);  // these cannot fail with valid signals
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP}) {
    if (signal == SIGTSTP && ctrl_z == CtrlZ::as_usual) continue;
    struct sigaction now {};
    // What is ignored (nohup) would be kept for us all the same.
    if (sigaction(signal, nullptr, &now) == 0 && now.sa_handler != SIG_IGN) (void)sigaddset(&wanted, signal);
  }
  CHECK(sigprocmask(SIG_BLOCK, &wanted, &before_) == 0);
  fd_ = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
  CHECK(fd_ >= 0);
}

Interrupts::~Interrupts() {
  (void)::close(fd_);
  (void)sigprocmask(SIG_SETMASK, &before_, nullptr);
}

Interrupts::Woken Interrupts::take() {
  Woken woken = Woken::time_up;
  signalfd_siginfo one{};
  while (::read(fd_, &one, sizeof one) == sizeof one) {
    if (one.ssi_signo == SIGWINCH) {
      if (woken == Woken::time_up) woken = Woken::resized;
    } else if (one.ssi_signo == SIGTSTP) {
      woken = Woken::stopped;
    } else {
      ended_ = true;
    }
  }
  return ended_ ? Woken::ended : woken;
}

bool Interrupts::ended() {
  if (const Woken woken = take(); woken != Woken::time_up) unseen_ = woken;
  return ended_;
}

Interrupts::Woken Interrupts::wait(core::Millis pause) {
  if (ended_) return Woken::ended;
  if (unseen_ != Woken::time_up) return std::exchange(unseen_, Woken::time_up);
  pollfd waiting{fd_, POLLIN, 0};
  if (::poll(&waiting, 1, static_cast<int>(pause.count())) <= 0) return Woken::time_up;
  return take();
}

}  // namespace mailotp::ctl
