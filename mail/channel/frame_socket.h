// One end of a channel: a connected stream socket, what came in cut into frames, and what is to go out.
// Non-blocking; belongs to one thread, which waits for the descriptor by whatever means it has (a libuv loop,
// poll).
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string_view>

#include "core/result.h"
#include "core/secret.h"
#include "mail/channel/frame_reader.h"

namespace mailotp::channel {

class FrameSocket {
 public:
  // Owns `descriptor`. `max_frame`: the largest frame that may come in.
  FrameSocket(int descriptor, std::size_t max_frame);
  ~FrameSocket();
  FrameSocket(const FrameSocket&) = delete;
  FrameSocket& operator=(const FrameSocket&) = delete;

  [[nodiscard]] int descriptor() const { return descriptor_; }

  // Reads once what is there. `end`: the far side has closed, or died with bytes of ours unread.
  enum class Received { some, nothing_yet, end };
  [[nodiscard]] Received receive();
  // As FrameReader::next().
  [[nodiscard]] core::Result<std::optional<std::string_view>> next() { return reader_.next(); }

  // Queues a frame (with its length) behind those that wait; nothing is written before flush(). After the far
  // side is gone frames are dropped here: what it said before must still be read, up to `end`.
  void send(core::Secret frame);
  // Writes as much as the kernel takes now, many frames in one call.
  void flush();
  // Waits until the kernel has everything or the far side is gone.
  void flush_all();
  // Bytes that wait for flush().
  [[nodiscard]] std::size_t waiting() const { return waiting_; }

 private:
  int descriptor_;
  FrameReader reader_;
  std::deque<core::Secret> out_;
  std::size_t sent_ = 0;  // bytes of out_.front() that the kernel has
  std::size_t waiting_ = 0;
  bool gone_ = false;  // writing has failed
};

}  // namespace mailotp::channel
