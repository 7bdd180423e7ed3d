// Cuts a stream of bytes, split anywhere, into frames. Bytes that were read are wiped: they may have been a
// mail or a password.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "core/result.h"

namespace mailotp::channel {

class FrameReader {
 public:
  // `max_frame`: bytes after the length. Memory stays under max_frame and one read.
  explicit FrameReader(std::size_t max_frame) : max_frame_(max_frame) {}
  FrameReader(FrameReader&& other) noexcept;
  FrameReader& operator=(FrameReader&&) = delete;
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;
  ~FrameReader();

  // Room to read into, then how much of it was filled. Both end the life of the last frame.
  [[nodiscard]] std::span<char> room();
  void filled(std::size_t size);
  // The same by a copy.
  void feed(std::string_view bytes);

  // The next whole frame, without its length, valid until the next call of anything here; nullopt: more bytes
  // are needed. Errc::malformed: a length above max_frame; nothing more comes out after that.
  [[nodiscard]] core::Result<std::optional<std::string_view>> next();

 private:
  void drop_frame();
  void make_room(std::size_t size);

  std::size_t max_frame_;
  std::unique_ptr<char[]> buffer_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;  // of what was not handed out
  std::size_t end_ = 0;    // of what was filled
  std::size_t frame_ = 0;  // bytes at begin_ that the last frame and its length take
};

}  // namespace mailotp::channel
