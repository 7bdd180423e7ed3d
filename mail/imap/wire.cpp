#include "mail/imap/wire.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "mail/agent/boot_clock.h"

namespace mailotp::mail {
namespace {

int poll_time(core::Millis time) {
  return static_cast<int>(std::clamp<core::Millis::rep>(time.count(), 0, INT_MAX));
}

}  // namespace

Wire::~Wire() {
  (void)::close(descriptor_);  // nothing can be done about an error
}

void Wire::begin(core::Millis time, std::size_t bytes) {
  deadline_ = since_boot() + time;
  budget_ = bytes;
}

core::Millis Wire::left() const {
  core::Millis end = deadline_;
  if (const auto until = stop_.until()) end = std::min(end, *until);
  return std::max(end - since_boot(), core::Millis{0});
}

tl::unexpected<core::Error> Wire::broken(core::Errc code, std::string what) {
  if (!std::exchange(broken_, true)) fault_ = {code, std::move(what)};
  return tl::unexpected(fault_);
}

void Wire::shut(core::Error why) {
  (void)broken(why.code, std::move(why.what));
}

bool Wire::wait_for(short events) {
  while (true) {
    std::array<pollfd, 2> wait{
        {{descriptor_, events, 0}, {stop_.until() ? -1 : stop_.descriptor(), POLLIN, 0}}};
    const core::Millis time = left();
    const int ready = ::poll(wait.data(), wait.size(), poll_time(time));
    if (ready > 0 && wait[0].revents != 0) return true;
    if (ready == 0 && left().count() == 0) return false;
  }
}

Wire::Woken Wire::wait(int other) {
  if (broken_ || (tls_ && SSL_pending(tls_.get()) > 0)) return Woken::readable;
  while (true) {
    std::array<pollfd, 3> wait{
        {{descriptor_, POLLIN, 0}, {other, POLLIN, 0}, {stop_.descriptor(), POLLIN, 0}}};
    const int ready = ::poll(wait.data(), wait.size(), poll_time(left()));
    if (ready > 0 && wait[0].revents != 0) return Woken::readable;
    if (ready > 0) return Woken::other;
    if (ready == 0 && left().count() == 0) return Woken::time;
  }
}

// After a call of OpenSSL that gave `result`: waits for what it needs.
core::Result<> Wire::retry_tls(int result) {
  const int error = SSL_get_error(tls_.get(), result);
  if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
    return broken(core::Errc::unavailable, tls_failure(tls_.get()));
  if (!wait_for(error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT))
    return broken(core::Errc::timed_out, "the server did not answer in time");
  return {};
}

core::Result<> Wire::secure(TlsPtr tls) {
  tls_ = std::move(tls);
  if (SSL_set_fd(tls_.get(), descriptor_) != 1) return broken(core::Errc::internal, "SSL_set_fd");
  while (true) {
    ERR_clear_error();
    const int result = SSL_do_handshake(tls_.get());
    if (result == 1) return {};
    if (auto again = retry_tls(result); !again) return again;
  }
}

core::Result<std::size_t> Wire::read(std::span<char> into) {
  if (broken_) return tl::unexpected(fault_);
  const std::size_t most = std::min(into.size(), budget_);
  if (most == 0) return broken(core::Errc::full, "the server says more than its answer may hold");
  // A server that always has one more byte ready must not keep the step for ever.
  if (left().count() == 0) return broken(core::Errc::timed_out, "the server did not finish in time");
  while (true) {
    if (tls_) {
      ERR_clear_error();
      std::size_t size = 0;
      const int result = SSL_read_ex(tls_.get(), into.data(), most, &size);
      if (result == 1) {
        budget_ -= size;
        return size;
      }
      if (auto again = retry_tls(result); !again) return tl::unexpected(again.error());
      continue;
    }
    const ssize_t size = ::recv(descriptor_, into.data(), most, 0);
    if (size > 0) {
      budget_ -= static_cast<std::size_t>(size);
      return static_cast<std::size_t>(size);
    }
    if (size == 0) return broken(core::Errc::unavailable, "the server closed the connection");
    if (errno != EAGAIN && errno != EINTR) return broken(core::Errc::unavailable, std::strerror(errno));
    if (!wait_for(POLLIN)) return broken(core::Errc::timed_out, "the server did not answer in time");
  }
}

core::Result<> Wire::write(std::string_view bytes) {
  if (broken_) return tl::unexpected(fault_);
  while (!bytes.empty()) {
    std::size_t size = 0;
    if (tls_) {
      ERR_clear_error();
      const int result = SSL_write_ex(tls_.get(), bytes.data(), bytes.size(), &size);
      if (result != 1) {
        if (auto again = retry_tls(result); !again) return again;
        continue;
      }
    } else {
      const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN && errno != EINTR)
        return broken(core::Errc::unavailable, std::strerror(errno));
      if (sent < 0 && !wait_for(POLLOUT))
        return broken(core::Errc::timed_out, "the server did not take what we said in time");
      size = sent > 0 ? static_cast<std::size_t>(sent) : 0;
    }
    bytes.remove_prefix(size);
  }
  return {};
}

void wait_readable(int one, int other, core::Millis time) {
  std::array<pollfd, 2> wait{{{one, POLLIN, 0}, {other, POLLIN, 0}}};
  (void)::poll(wait.data(), wait.size(), poll_time(time));  // whatever ended it, the caller looks
}

}  // namespace mailotp::mail
