// The HTTP/1.1 server on Unix sockets: keep-alive, pipelined requests answered in order, one request of a
// connection handled at a time, the uids in turn. Everything here belongs to the loop's thread. The process
// must ignore SIGPIPE: libuv writes without MSG_NOSIGNAL.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/log.h"
#include "core/result.h"
#include "daemon/http/limits.h"
#include "daemon/http/listener.h"
#include "daemon/http/message.h"
#include "daemon/http/problem.h"
#include "daemon/http/responder.h"
#include "daemon/http/uid_loads.h"

struct uv_loop_s;

namespace mailotp::daemon {

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
  // unknown; io. The file is removed when the server drains or closes.
  // `via` is what HttpRequest::via says of those who come by it.
  [[nodiscard]] core::Result<> listen(const std::string& path, std::uint32_t mode, const std::string& group,
                                      std::string via = {});
  // Takes over a listening Unix stream socket (systemd's). Errc::invalid: it is something else; it is then
  // not closed.
  [[nodiscard]] core::Result<> adopt(int fd, std::string via = {});
  // One that was made elsewhere; it is the server's from the beginning.
  [[nodiscard]] core::Result<> add(ListeningSocket socket, std::string via);
  // The socket made at `path` is somebody else's, or closed and its file removed. Whoever has come by it is
  // answered, and comes again: no connection goes on as who it no longer is. Nothing where there is none.
  void rename(const std::string& path, const std::string& via);
  void close_socket(const std::string& path);

  // No new connections; requests that are handled or have been read are answered, the last of a connection
  // with "Connection: close"; then each connection is closed. Streams are ended, each as soon as nothing of
  // it is unsent, and on_gone runs. `drained` runs once, when the last connection is closed, perhaps before
  // drain returns.
  void drain(std::function<void()> drained = {});
  // Closes everything at once; `done` runs when the loop has let go of it, perhaps before close returns. The
  // server may be destroyed in `done`.
  void close(std::function<void()> done);
  [[nodiscard]] std::size_t connections() const;
  // A request is counted until the kernel has its answer, or its client is gone and its handler has let go of
  // it.
  [[nodiscard]] UidLoad load_of(uid_t uid) const;
  // Of all uids.
  [[nodiscard]] UidLoad load() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mailotp::daemon
