// How a handler answers: a Responder gives one answer, or becomes an HttpStream, an answer in pieces that may
// go on for days. Both belong to the loop's thread and may outlive their connection and their server.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "daemon/http/message.h"

namespace mailotp::daemon {

struct Exchange;

// An answer of which the head is sent and the end is open. The owner paces itself: one write at a time, so
// that a stream never holds more than one write. A client that takes nothing of it for
// HttpLimits::write_stall is closed; a stream with nothing to send may rest for ever.
//
//   open ─write()─► unsent ─on_writable─► open ─end()─► the connection goes on as its request asked
//     └──────────────┴──► gone: the client went away, the server drained or closed; on_gone has run
//
// Dropped before end() it closes the connection in the middle of the answer, and the client can tell.
class HttpStream {
 public:
  explicit HttpStream(std::shared_ptr<Exchange> exchange);
  HttpStream(HttpStream&& other) noexcept = default;
  HttpStream& operator=(HttpStream&& other) noexcept;
  ~HttpStream();

  // Takes `bytes`, which are not empty, and sends them, as one chunk where there are chunks. False, and
  // nothing is taken: an earlier write is unsent, or the stream is gone.
  [[nodiscard]] bool write(std::string bytes);
  // write() would take something.
  [[nodiscard]] bool writable() const;
  // `callback` runs once for each write, when the kernel has all of it: from the loop, never from inside
  // write(). It may write, end or drop this stream.
  void on_writable(std::function<void()> callback);
  // `callback` runs once when the stream is gone before end(), at once when it is so already. It may drop
  // this stream. The client going away is noticed while nothing is written, too; one that only shut down its
  // sending side is still there. A server that drains ends the answer well, after the last write.
  void on_gone(std::function<void()> callback);
  // The end of the answer, behind what is unsent; no callback runs after it. Exactly once; a second call
  // aborts. Ignored when the stream is gone.
  void end();

 private:
  void drop();

  // Shared with the connection: either may go first.
  std::shared_ptr<Exchange> exchange_;
};

// The handle to one request that is being handled. Dropped without an answer it answers 500 and logs: that is
// a bug of ours.
class Responder {
 public:
  explicit Responder(std::shared_ptr<Exchange> exchange);
  Responder(Responder&& other) noexcept = default;
  Responder& operator=(Responder&& other) noexcept;
  ~Responder();

  // Exactly once; a second call aborts. Ignored when the connection has died.
  void respond(HttpResponse response);
  // Instead of respond(): sends `head` and leaves the end open. A body of a length that is not told is
  // sent with Transfer-Encoding chunked, in HTTP/1.0 up to the end of the connection; of another no more may
  // be written than was told. What on_gone() was given is forgotten.
  [[nodiscard]] HttpStream stream(StreamHead head);
  // `callback` runs once if the connection dies before the answer (the client went away, the server is being
  // closed); at once when it is dead already. It may drop this Responder. A client that only shut down its
  // sending side is still there.
  void on_gone(std::function<void()> callback);

 private:
  void drop();

  // Shared with the connection: either may go first.
  std::shared_ptr<Exchange> exchange_;
};

}  // namespace mailotp::daemon
