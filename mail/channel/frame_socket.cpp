#include "mail/channel/frame_socket.h"

#include <array>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/check.h"

namespace mailotp::channel {
namespace {
constexpr std::size_t k_frames_a_write = 64;
}

FrameSocket::FrameSocket(int descriptor, std::size_t max_frame)
    : descriptor_(descriptor), reader_(max_frame) {
  const int flags = ::fcntl(descriptor_, F_GETFL);
  CHECK(flags >= 0);
  CHECK(::fcntl(descriptor_, F_SETFL, flags | O_NONBLOCK) == 0);
}

FrameSocket::~FrameSocket() {
  (void)::close(descriptor_);  // nothing can be done about a failure
}

FrameSocket::Received FrameSocket::receive() {
  const std::span<char> room = reader_.room();
  while (true) {
    const ssize_t size = ::recv(descriptor_, room.data(), room.size(), 0);
    if (size > 0) {
      reader_.filled(static_cast<std::size_t>(size));
      return Received::some;
    }
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Received::nothing_yet;
    return Received::end;
  }
}

void FrameSocket::send(core::Secret frame) {
  if (gone_) return;
  waiting_ += frame.size();
  out_.push_back(std::move(frame));
}

void FrameSocket::flush() {
  while (!out_.empty()) {
    std::array<iovec, k_frames_a_write> parts{};
    std::size_t count = 0;
    for (std::size_t skip = sent_; count < parts.size() && count < out_.size(); ++count, skip = 0) {
      const std::string_view bytes = out_[count].reveal().substr(skip);
      parts[count] = {const_cast<char*>(bytes.data()), bytes.size()};  // sendmsg only reads
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    const ssize_t size = ::sendmsg(descriptor_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (size < 0) {
      gone_ = true;
      out_.clear();
      waiting_ = 0;
      return;
    }
    waiting_ -= static_cast<std::size_t>(size);
    sent_ += static_cast<std::size_t>(size);
    while (!out_.empty() && sent_ >= out_.front().size()) {
      sent_ -= out_.front().size();
      out_.pop_front();
    }
  }
}

void FrameSocket::flush_all() {
  flush();
  while (waiting_ > 0) {
    pollfd wait{descriptor_, POLLOUT, 0};
    (void)::poll(&wait, 1, -1);  // whatever ended the wait, flush() finds out
    flush();
  }
}

}  // namespace mailotp::channel
