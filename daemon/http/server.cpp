#include "daemon/http/server.h"

#include <unordered_map>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>
#include <uv.h>

#include "core/check.h"
#include "daemon/http/connection.h"
#include "daemon/http/listener.h"

namespace mailotp::daemon {

namespace {

// What any client may bring about must not fill the log.
class OnceASecond {
 public:
  // `now`: loop time, ms.
  [[nodiscard]] bool due(std::uint64_t now) {
    if (last_ != 0 && now - last_ < 1000) return false;
    last_ = now;
    return true;
  }

 private:
  std::uint64_t last_ = 0;
};

// A crowd that connects as fast as we accept must not keep the loop from the connections that are there.
constexpr int k_accepts_a_turn = 128;

}  // namespace

struct HttpServer::Impl {
  struct Listener {
    Impl* server;
    SocketFile file;
    std::string via;
    uv_pipe_t handle{};
    uv_idle_t next_turn{};  // running: libuv holds a connection for us, and takes no other before that
    int open_handles = 2;
    int accepted = 0;  // since the last turn of the loop that we know of
    bool closing = false;
  };

  Impl(uv_loop_t* loop, HttpLimits limits, HttpHandler handler, std::function<std::string()> make_request_id,
       core::Log& log)
      : context{loop,
                limits,
                std::move(handler),
                std::move(make_request_id),
                log,
                [this](Connection& connection) { remove(connection); },
                [this](uid_t uid, std::string_view limit) { uid_limited(uid, limit); },
                {loop, [](Connection& connection) { connection.take_turn(); }}} {}

  core::Result<> add_listener(int fd, SocketFile file, std::string via);
  void accept(Listener& listener, int status);
  void accept_one(Listener& listener);
  void uid_limited(uid_t uid, std::string_view limit);
  void remove(Connection& connection);
  void close_listener(Listener& listener);
  void close_listeners();
  [[nodiscard]] Listener* find(const std::string& path);
  void send_away(const std::string& via);
  void report_end();

  ServerContext context;
  std::unordered_map<uv_pipe_t*, std::unique_ptr<Listener>> listeners;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections;
  std::function<void()> on_drained;
  std::function<void()> on_closed;
  bool turns_closed = false;
  bool draining = false;
  OnceASecond accept_warning;
  OnceASecond uid_warning;
};

// Owns `fd` from the beginning.
core::Result<> HttpServer::Impl::add_listener(int fd, SocketFile file, std::string via) {
  auto made = std::make_unique<Listener>();
  Listener& listener = *made;
  listener.server = this;
  listener.file = std::move(file);
  listener.via = std::move(via);
  CHECK(uv_pipe_init(context.loop, &listener.handle, 0) == 0);
  CHECK(uv_idle_init(context.loop, &listener.next_turn) == 0);
  listener.handle.data = &listener;
  listener.next_turn.data = &listener;
  listeners.emplace(&listener.handle, std::move(made));
  int error = uv_pipe_open(&listener.handle, fd);
  if (error != 0) {
    (void)::close(fd);  // nothing was done with it
  } else {
    error = uv_listen(reinterpret_cast<uv_stream_t*>(&listener.handle), k_listen_backlog,
                      [](uv_stream_t* stream, int status) noexcept {
                        auto& ready = *static_cast<Listener*>(stream->data);
                        ready.server->accept(ready, status);
                      });
  }
  if (error == 0) return {};
  close_listener(listener);
  return core::fail(core::Errc::io, fmt::format("socket {}: listen: {}", fd, uv_strerror(error)));
}

// Out of descriptors: libuv gives up its reserve descriptor for a moment and sheds what waits, so neither
// does the loop spin nor do clients hang.
void HttpServer::Impl::accept(Listener& listener, int status) {
  if (status < 0) {
    if (!accept_warning.due(uv_now(context.loop))) return;
    context.log.write(core::LogLevel::warning,
                      fmt::format("event=http_accept_failed reason=\"{}\"", uv_strerror(status)));
    return;
  }
  if (listener.accepted < k_accepts_a_turn) {
    accept_one(listener);
    return;
  }
  (void)uv_idle_start(&listener.next_turn, [](uv_idle_t* idle) noexcept {  // fails only without a callback
    (void)uv_idle_stop(idle);                                              // always 0
    auto& waiting = *static_cast<Listener*>(idle->data);
    waiting.accepted = 0;
    waiting.server->accept_one(waiting);
  });
}

void HttpServer::Impl::accept_one(Listener& listener) {
  ++listener.accepted;
  auto made = std::make_unique<Connection>(context, listener.via);
  Connection& connection = *made;
  const bool full = connections.size() >= context.limits.connections;
  connections.emplace(&connection, std::move(made));
  if (connection.accept(reinterpret_cast<uv_stream_t*>(&listener.handle)) != 0) {
    connection.close();
  } else if (full) {
    connection.shed("there are too many connections");
  } else {
    connection.open();
  }
}

void HttpServer::Impl::uid_limited(uid_t uid, std::string_view limit) {
  if (!uid_warning.due(uv_now(context.loop))) return;
  context.log.write(core::LogLevel::warning,
                    fmt::format("event=http_uid_limited uid={} limit={}", uid, limit));
}

void HttpServer::Impl::remove(Connection& connection) {
  connections.erase(&connection);
  report_end();
}

void HttpServer::Impl::close_listener(Listener& listener) {
  if (listener.closing) return;
  listener.closing = true;
  remove_socket_file(listener.file);
  const auto closed = [](uv_handle_t* handle) noexcept {
    auto& gone = *static_cast<Listener*>(handle->data);
    if (--gone.open_handles > 0) return;
    Impl& server = *gone.server;
    server.listeners.erase(&gone.handle);
    server.report_end();
  };
  uv_close(reinterpret_cast<uv_handle_t*>(&listener.handle), closed);
  uv_close(reinterpret_cast<uv_handle_t*>(&listener.next_turn), closed);
}

void HttpServer::Impl::close_listeners() {
  for (auto& [handle, listener] : listeners) {
    close_listener(*listener);
  }
}

HttpServer::Impl::Listener* HttpServer::Impl::find(const std::string& path) {
  for (auto& [handle, listener] : listeners) {
    if (!listener->closing && listener->file.path == path) return listener.get();
  }
  return nullptr;
}

void HttpServer::Impl::send_away(const std::string& via) {
  for (auto& [key, connection] : connections) {
    if (connection->via() == via) connection->drain();
  }
}

// Each callback is the last thing done: it may destroy the server.
void HttpServer::Impl::report_end() {
  if (!connections.empty()) return;
  if (on_drained) {
    std::exchange(on_drained, nullptr)();
  } else if (on_closed && listeners.empty() && turns_closed) {
    std::exchange(on_closed, nullptr)();
  }
}

HttpServer::HttpServer(uv_loop_s* loop, HttpLimits limits, HttpHandler handler,
                       std::function<std::string()> make_request_id, core::Log& log)
    : impl_(std::make_unique<Impl>(loop, limits, std::move(handler), std::move(make_request_id), log)) {}

HttpServer::~HttpServer() {
  CHECK(impl_->listeners.empty() && impl_->connections.empty());
}

core::Result<> HttpServer::listen(const std::string& path, std::uint32_t mode, const std::string& group,
                                  std::string via) {
  auto socket = make_listening_socket(path, mode, group);
  if (!socket) return tl::unexpected(std::move(socket.error()));
  return impl_->add_listener(socket->fd, std::move(socket->file), std::move(via));
}

core::Result<> HttpServer::adopt(int fd, std::string via) {
  if (auto good = check_listening_socket(fd); !good) return good;
  return impl_->add_listener(fd, {}, std::move(via));
}

core::Result<> HttpServer::add(ListeningSocket socket, std::string via) {
  return impl_->add_listener(socket.fd, std::move(socket.file), std::move(via));
}

void HttpServer::rename(const std::string& path, const std::string& via) {
  Impl::Listener* listener = impl_->find(path);
  if (listener == nullptr) return;
  impl_->send_away(std::exchange(listener->via, via));
}

void HttpServer::close_socket(const std::string& path) {
  Impl::Listener* listener = impl_->find(path);
  if (listener == nullptr) return;
  const std::string via = listener->via;
  impl_->close_listener(*listener);
  impl_->send_away(via);
}

void HttpServer::drain(std::function<void()> drained) {
  CHECK(!impl_->draining);
  impl_->draining = true;
  impl_->on_drained = std::move(drained);
  impl_->close_listeners();
  for (auto& [key, connection] : impl_->connections) {
    connection->drain();
  }
  impl_->report_end();
}

void HttpServer::close(std::function<void()> done) {
  CHECK(!impl_->on_closed);
  impl_->on_closed = std::move(done);
  impl_->on_drained = nullptr;
  impl_->close_listeners();
  for (auto& [key, connection] : impl_->connections) {
    connection->close();
  }
  impl_->context.turns.close([impl = impl_.get()] {
    impl->turns_closed = true;
    impl->report_end();
  });
}

std::size_t HttpServer::connections() const {
  return impl_->connections.size();
}

UidLoad HttpServer::load_of(uid_t uid) const {
  return impl_->context.loads->of(uid);
}

UidLoad HttpServer::load() const {
  return impl_->context.loads->of_all();
}

}  // namespace mailotp::daemon
