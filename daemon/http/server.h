// The HTTP/1.1 server on Unix sockets: keep-alive, pipelined requests answered in order, one request of a
// connection handled at a time. Everything here belongs to the loop's thread. The process must ignore
// SIGPIPE: libuv writes without MSG_NOSIGNAL.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/log.h"
#include "core/result.h"
#include "daemon/http/limits.h"
#include "daemon/http/message.h"
#include "daemon/http/problem.h"

struct uv_loop_s;

namespace mailotp::daemon {

struct Exchange;

// The handle to one request that is being handled. It may outlive its connection and its server. Dropped
// without an answer it answers 500 and logs: that is a bug of ours.
class Responder {
 public:
  explicit Responder(std::shared_ptr<Exchange> exchange);
  Responder(Responder&& other) noexcept = default;
  Responder& operator=(Responder&& other) noexcept;
  ~Responder();

  // Exactly once; a second call aborts. Ignored when the connection has died.
  void respond(HttpResponse response);
  // `callback` runs once if the connection dies before the answer (the client went away, the server is being
  // closed); at once when it is dead already. It may drop this Responder. A client that only shut down its
  // sending side is still there.
  void on_gone(std::function<void()> callback);

 private:
  void drop();

  // Shared with the connection: either may go first.
  std::shared_ptr<Exchange> exchange_;
};

using HttpHandler = std::function<void(HttpRequest, Responder)>;

class HttpServer {
 public:
  // `loop` and `log` outlive the server. `make_request_id` gives what X-Request-Id says: printable ASCII.
  HttpServer(uv_loop_s* loop, HttpLimits limits, HttpHandler handler,
             std::function<std::string()> make_request_id, core::Log& log);
  // close() must have ended.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Makes the socket at `path` with exactly the permissions `mode` and, unless empty, the group of that name.
  // At no time is it open to more than that. A socket file on which nobody answers is replaced. Errc::busy: a
  // live process answers there; invalid: the path is too long or something else than a socket, the group is
  // unknown; io. The file is removed when the server drains or closes. Requests say that they came `via` it.
  [[nodiscard]] core::Result<> listen(const std::string& path, std::uint32_t mode, const std::string& group,
                                      const std::string& via = {});
  // Takes over a listening Unix stream socket (systemd's). Errc::invalid: it is something else; it is then
  // not closed.
  [[nodiscard]] core::Result<> adopt(int fd, const std::string& via = {});

  // No new connections; requests that are handled or have been read are answered, the last of a connection
  // with "Connection: close"; then each connection is closed. `drained` runs once, when the last one is,
  // perhaps before drain returns.
  void drain(std::function<void()> drained = {});
  // Closes everything at once; `done` runs when the loop has let go of it, perhaps before close returns. The
  // server may be destroyed in `done`.
  void close(std::function<void()> done);
  [[nodiscard]] std::size_t connections() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mailotp::daemon
