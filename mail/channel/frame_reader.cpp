#include "mail/channel/frame_reader.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "mail/channel/codec.h"

namespace mailotp::channel {
namespace {
constexpr std::size_t k_read = 64 << 10;
}

FrameReader::FrameReader(FrameReader&& other) noexcept
    : max_frame_(other.max_frame_),
      buffer_(std::move(other.buffer_)),
      capacity_(std::exchange(other.capacity_, 0)),
      begin_(std::exchange(other.begin_, 0)),
      end_(std::exchange(other.end_, 0)),
      frame_(std::exchange(other.frame_, 0)) {}

FrameReader::~FrameReader() {
  if (buffer_) ::explicit_bzero(buffer_.get(), end_);
}

void FrameReader::drop_frame() {
  if (frame_ == 0) return;
  ::explicit_bzero(buffer_.get() + begin_, frame_);
  begin_ += std::exchange(frame_, 0);
  if (begin_ == end_) begin_ = end_ = 0;
}

// At least `size` bytes free behind end_.
void FrameReader::make_room(std::size_t size) {
  if (capacity_ - end_ >= size) return;
  const std::size_t held = end_ - begin_;
  if (capacity_ - held >= size) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, held);
    // What was moved away lies behind the new end; what lay before begin_ is wiped already.
    ::explicit_bzero(buffer_.get() + held, end_ - held);
  } else {
    const std::size_t grown = std::max(held + size, std::min(2 * capacity_, max_frame_ + k_read));
    std::unique_ptr<char[]> larger(new char[grown]);
    if (held > 0) std::memcpy(larger.get(), buffer_.get() + begin_, held);
    if (buffer_) ::explicit_bzero(buffer_.get(), end_);
    buffer_ = std::move(larger);
    capacity_ = grown;
  }
  begin_ = 0;
  end_ = held;
}

std::span<char> FrameReader::room() {
  drop_frame();
  make_room(k_read);
  return {buffer_.get() + end_, k_read};
}

void FrameReader::filled(std::size_t size) {
  CHECK(size <= capacity_ - end_);
  end_ += size;
}

void FrameReader::feed(std::string_view bytes) {
  if (bytes.empty()) return;
  drop_frame();
  make_room(bytes.size());
  std::memcpy(buffer_.get() + end_, bytes.data(), bytes.size());
  end_ += bytes.size();
}

core::Result<std::optional<std::string_view>> FrameReader::next() {
  drop_frame();
  if (end_ - begin_ < k_length_bytes) return std::nullopt;
  const char* at = buffer_.get() + begin_;
  std::size_t size = 0;
  for (std::size_t i = 0; i < k_length_bytes; ++i)
    size = size << 8U | static_cast<unsigned char>(at[i]);
  if (size > max_frame_) return core::fail(core::Errc::malformed, "a frame larger than its bound");
  if (end_ - begin_ < k_length_bytes + size) return std::nullopt;
  frame_ = k_length_bytes + size;
  return std::string_view(at + k_length_bytes, size);
}

}  // namespace mailotp::channel
