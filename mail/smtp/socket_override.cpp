#include "mail/smtp/socket_override.h"

#include <cerrno>
#include <ctime>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

using mailotp::mail::StandIn;

// The one piece of state outside an object: these calls have no place for an argument of ours.
thread_local StandIn* stand_in = nullptr;

bool is_ours(int descriptor) {
  return stand_in != nullptr && descriptor >= 0 && stand_in->descriptor == descriptor;
}

}  // namespace

// Each replaces libc's for the whole program; libesmtp finds it through its PLT. Their names are given to the
// linker only: libc's headers say more of them than is true of ours.
extern "C" {
int our_connect(int descriptor, const sockaddr* address, socklen_t length) __asm__("connect");
ssize_t our_read(int descriptor, void* bytes, std::size_t size) __asm__("read");
ssize_t our_write(int descriptor, const void* bytes, std::size_t size) __asm__("write");
int our_poll(pollfd* wants, nfds_t count, int timeout_ms) __asm__("poll");
}

int our_connect(int descriptor, const sockaddr* address, socklen_t length) {
  if (stand_in == nullptr || stand_in->descriptor >= 0)
    return static_cast<int>(::syscall(SYS_connect, descriptor, address, length));
  stand_in->descriptor = descriptor;
  return 0;
}

ssize_t our_read(int descriptor, void* bytes, std::size_t size) {
  if (!is_ours(descriptor)) return ::syscall(SYS_read, descriptor, bytes, size);
  return static_cast<ssize_t>(stand_in->read(static_cast<char*>(bytes), size));
}

ssize_t our_write(int descriptor, const void* bytes, std::size_t size) {
  if (!is_ours(descriptor)) return ::syscall(SYS_write, descriptor, bytes, size);
  if (stand_in->write({static_cast<const char*>(bytes), size})) return static_cast<ssize_t>(size);
  errno = EPIPE;
  return -1;
}

// libesmtp's wants are one descriptor, for reading, for writing (always possible) or, in two entries, both.
int our_poll(pollfd* wants, nfds_t count, int timeout_ms) {
  if (count == 0 || !is_ours(wants[0].fd)) {
    timespec timeout{timeout_ms / 1000, timeout_ms % 1000 * 1'000'000L};
    return static_cast<int>(
        ::syscall(SYS_ppoll, wants, count, timeout_ms < 0 ? nullptr : &timeout, nullptr, std::size_t{8}));
  }
  while (true) {
    int ready = 0;
    for (nfds_t i = 0; i < count; ++i) {
      const bool read = (wants[i].events & POLLIN) != 0 && stand_in->readable();
      wants[i].revents = static_cast<short>((read ? POLLIN : 0) | (wants[i].events & POLLOUT));
      ready += wants[i].revents != 0 ? 1 : 0;
    }
    if (ready > 0 || timeout_ms == 0) return ready;
    // For as long as it takes: the deadlines are the loop's.
    stand_in->wait();
  }
}

namespace mailotp::mail {

StandIn* set_stand_in(StandIn* one) {
  return std::exchange(stand_in, one);
}

}  // namespace mailotp::mail
