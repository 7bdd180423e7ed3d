// What one connection still has to send: the kernel takes what it can at once, libuv keeps the rest. Private
// to the connection. Loop thread only.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include <uv.h>

namespace mailotp::daemon {

class Outgoing {
 public:
  // `stream` is open when send() is called, and closed before this is destroyed. `taken` runs once for each
  // send(), in order, from the loop and never from inside send(): with 0 when the kernel has all of it, else
  // with libuv's error; also for what is unsent when the stream is closed.
  Outgoing(uv_stream_t* stream, std::function<void(int)> taken);
  Outgoing(const Outgoing&) = delete;
  Outgoing& operator=(const Outgoing&) = delete;
  ~Outgoing();

  // The three parts one behind the other, not all of them empty; `tail` is not copied and must be there for
  // good. A libuv error code, or 0; `taken` does not run after an error.
  [[nodiscard]] int send(std::string head, std::string body = {}, std::string_view tail = {});
  // The same while nothing else waits, but what the kernel takes whole at once is done with: then empty() is
  // true, and `taken` does not run. For libuv's writes epoll is asked anew each time.
  [[nodiscard]] int send_at_once(std::string head, std::string body);
  // `taken` has run for everything.
  [[nodiscard]] bool empty() const { return sends_ == 0; }
  // Bytes that the kernel has not taken.
  [[nodiscard]] std::size_t unsent() const { return uv_stream_get_write_queue_size(stream_); }

 private:
  struct Write;

  uv_stream_t* stream_;
  std::function<void(int)> taken_;
  std::size_t sends_ = 0;
};

}  // namespace mailotp::daemon
