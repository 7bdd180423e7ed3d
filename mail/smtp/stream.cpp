#include "mail/smtp/stream.h"

#include <cerrno>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"

namespace mailotp::mail {

namespace {

// Reads of one turn, so that one connection cannot starve the others.
constexpr int k_reads_a_turn = 16;

std::string socket_error(int error) {
  return uv_strerror(uv_translate_sys_error(error));
}

}  // namespace

Stream::Stream(uv_loop_t* loop, int descriptor, StreamListener& listener)
    : listener_(&listener), descriptor_(descriptor) {
  poll_.emplace(loop, descriptor, [this](int events) { ready(events); });
  update_watch();
}

Stream::~Stream() {
  close();
}

void Stream::close() {
  if (closed()) return;
  poll_.reset();
  // The descriptor goes before TLS does: no alert is sent on a connection that is being cut.
  ::close(std::exchange(descriptor_, -1));
}

void Stream::end(const std::string& reason) {
  close();
  listener_->on_end(reason);
}

void Stream::secure(TlsPtr tls) {
  CHECK(out_.empty() && tls_state_ == Tls::none);
  tls_ = std::move(tls);
  CHECK(SSL_set_fd(tls_.get(), descriptor_) == 1);
  tls_state_ = Tls::handshake;
  handshake();
}

void Stream::handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(tls_.get());
  if (result == 1) {
    tls_state_ = Tls::established;
    wants_write_ = false;
    update_watch();
    listener_->on_secured();
    return;
  }
  const int error = SSL_get_error(tls_.get(), result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
    wants_write_ = error == SSL_ERROR_WANT_WRITE;
    update_watch();
    return;
  }
  end(tls_failure(tls_.get()));
}

void Stream::ready(int events) {
  if (tls_state_ == Tls::handshake) {
    handshake();
    if (closed() || tls_state_ == Tls::handshake) return;
  }
  // An error is found by reading: what arrived before it is delivered first.
  if (events < 0 || (events & UV_READABLE) != 0 || wants_write_) read_now();
  if (closed()) return;
  if (events < 0) return end("connection lost");
  if ((events & UV_WRITABLE) != 0) flush();
}

void Stream::read_now() {
  if (tls_state_ == Tls::handshake) return;
  for (int i = 0; i < k_reads_a_turn && !closed() && reading_ == Reading::on; ++i) {
    const auto count = receive();
    if (!count) return end(count.error().what);
    if (*count == 0) break;
    const bool drained = tls_state_ != Tls::established && *count < in_.size();
    listener_->on_bytes({in_.data(), *count});
    // A short read took all that the kernel had; asking again would cost a call to learn that. What comes
    // meanwhile wakes the loop (the poll is level-triggered).
    if (drained) break;
  }
  if (!closed()) update_watch();
}

core::Result<std::size_t> Stream::receive() {
  if (tls_state_ == Tls::established) {
    ERR_clear_error();
    return tls_result(SSL_read(tls_.get(), in_.data(), static_cast<int>(in_.size())));
  }
  const ssize_t count = ::recv(descriptor_, in_.data(), in_.size(), 0);
  if (count > 0) return static_cast<std::size_t>(count);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  return core::fail(core::Errc::io,
                    count == 0 ? "connection closed" : "connection lost: " + socket_error(errno));
}

core::Result<std::size_t> Stream::send(std::string_view bytes) {
  if (tls_state_ == Tls::established) {
    ERR_clear_error();
    return tls_result(SSL_write(tls_.get(), bytes.data(), static_cast<int>(bytes.size())));
  }
  const ssize_t count = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (count >= 0) return static_cast<std::size_t>(count);
  if (errno == EAGAIN || errno == EINTR) return 0;
  return core::fail(core::Errc::io, "connection lost: " + socket_error(errno));
}

core::Result<std::size_t> Stream::tls_result(int result) {
  const int cause = errno;
  if (result > 0) return static_cast<std::size_t>(result);
  const int error = SSL_get_error(tls_.get(), result);
  wants_write_ = error == SSL_ERROR_WANT_WRITE;
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return 0;
  std::string reason = "connection closed";
  if (error == SSL_ERROR_SYSCALL && cause != 0) reason = "connection lost: " + socket_error(cause);
  if (error == SSL_ERROR_SSL) reason = tls_failure(tls_.get());
  return core::fail(core::Errc::io, std::move(reason));
}

void Stream::write(std::string_view bytes) {
  if (closed() || bytes.empty()) return;
  if (out_.empty() && tls_state_ != Tls::handshake) {
    const std::size_t count = send(bytes).value_or(0);
    sent_ += count;
    bytes.remove_prefix(count);
  }
  out_.append(bytes);
  if (!out_.empty()) update_watch();
}

void Stream::flush() {
  if (out_.empty()) return update_watch();
  while (!out_.empty()) {
    const auto count = send(out_);
    if (!count) return end(count.error().what);
    if (*count == 0) break;
    sent_ += *count;
    out_.erase(0, *count);
  }
  update_watch();
  if (out_.empty()) listener_->on_drained();
}

void Stream::set_reading(Reading reading) {
  reading_ = reading;
  if (!closed()) update_watch();
}

void Stream::update_watch() {
  const int read = reading_ == Reading::on ? UV_READABLE : 0;
  const int write = !out_.empty() || wants_write_ ? UV_WRITABLE : 0;
  poll_->watch(read | write);
}

}  // namespace mailotp::mail
