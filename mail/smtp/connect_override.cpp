#include "mail/smtp/connect_override.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

// The one piece of state outside an object: connect(2) has no place for an argument of ours.
thread_local int waiting_descriptor = -1;

}  // namespace

// Replaces libc's for the whole program; libesmtp finds it through its PLT.
extern "C" int connect(int descriptor, const sockaddr* address, socklen_t length) {
  if (waiting_descriptor < 0) return static_cast<int>(::syscall(SYS_connect, descriptor, address, length));
  const int ours = waiting_descriptor;
  waiting_descriptor = -1;
  const int placed = ::dup3(ours, descriptor, O_CLOEXEC);
  const int error = errno;
  ::close(ours);
  errno = error;
  return placed < 0 ? -1 : 0;
}

namespace mailotp::mail {

void give_to_next_connect(int descriptor) {
  waiting_descriptor = descriptor;
}

bool connect_still_waits() {
  return waiting_descriptor >= 0;
}

void forget_next_connect() {
  if (waiting_descriptor >= 0) ::close(waiting_descriptor);
  waiting_descriptor = -1;
}

}  // namespace mailotp::mail
