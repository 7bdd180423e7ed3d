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
Responder::Responder(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}

Responder& Responder::operator=(Responder&& other) noexcept {
  if (this == &other) return *this;
  drop();
  exchange_ = std::move(other.exchange_);
  return *this;
}

Responder::~Responder() {
  drop();
}

void Responder::drop() {
  const std::shared_ptr<Exchange> exchange = std::exchange(exchange_, nullptr);
  if (exchange && exchange->connection) exchange->connection->answer_dropped();
}

void Responder::respond(HttpResponse response) {
  const std::shared_ptr<Exchange> exchange = std::exchange(exchange_, nullptr);
  CHECK(exchange != nullptr);
  exchange->on_gone = nullptr;
  if (exchange->connection) exchange->connection->respond(std::move(response));
}

void Responder::on_gone(std::function<void()> callback) {
  CHECK(exchange_ != nullptr);
  if (exchange_->connection) {
    exchange_->on_gone = std::move(callback);
  } else {
    callback();
  }
}

struct HttpServer::Impl {
  struct Listener {
    Impl* server;
    SocketFile file;
    std::string via;
    uv_pipe_t handle{};
    bool closing = false;
  };

  Impl(uv_loop_t* loop, HttpLimits limits, HttpHandler handler, std::function<std::string()> make_request_id,
       core::Log& log)
      : context{loop,
                limits,
                std::move(handler),
                std::move(make_request_id),
                log,
                [this](Connection& connection) { remove(connection); }} {}

  core::Result<> add_listener(int fd, SocketFile file, const std::string& via);
  void accept(Listener& listener, int status);
  void remove(Connection& connection);
  void close_listener(Listener& listener);
  void close_listeners();
  void report_end();

  ServerContext context;
  std::unordered_map<uv_pipe_t*, std::unique_ptr<Listener>> listeners;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections;
  std::function<void()> on_drained;
  std::function<void()> on_closed;
  std::uint64_t accept_warned_at = 0;  // loop time, ms
};

// Owns `fd` from the beginning.
core::Result<> HttpServer::Impl::add_listener(int fd, SocketFile file, const std::string& via) {
  auto made = std::make_unique<Listener>();
  Listener& listener = *made;
  listener.server = this;
  listener.file = std::move(file);
  listener.via = via;
  CHECK(uv_pipe_init(context.loop, &listener.handle, 0) == 0);
  listener.handle.data = &listener;
  listeners.emplace(&listener.handle, std::move(made));
  int error = uv_pipe_open(&listener.handle, fd);
  if (error != 0) {
    (void)::close(fd);  // nothing was done with it
  } else {
    error = uv_listen(reinterpret_cast<uv_stream_t*>(&listener.handle), k_listen_backlog,
                      [](uv_stream_t* stream, int status) noexcept {
                        auto& from = *static_cast<Listener*>(stream->data);
                        from.server->accept(from, status);
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
    const std::uint64_t now = uv_now(context.loop);
    if (accept_warned_at != 0 && now - accept_warned_at < 1000) return;
    accept_warned_at = now;
    context.log.write(core::LogLevel::warning,
                      fmt::format("event=http_accept_failed reason=\"{}\"", uv_strerror(status)));
    return;
  }
  auto made = std::make_unique<Connection>(context);
  Connection& connection = *made;
  auto* stream = reinterpret_cast<uv_stream_t*>(&listener.handle);
  const bool full = connections.size() >= context.limits.connections;
  connections.emplace(&connection, std::move(made));
  if (full) {
    connection.shed(stream);
  } else if (connection.accept(stream, listener.via) != 0) {
    connection.close();
  }
}

void HttpServer::Impl::remove(Connection& connection) {
  connections.erase(&connection);
  report_end();
}

void HttpServer::Impl::close_listener(Listener& listener) {
  if (listener.closing) return;
  listener.closing = true;
  remove_socket_file(listener.file);
  uv_close(reinterpret_cast<uv_handle_t*>(&listener.handle), [](uv_handle_t* handle) noexcept {
    Impl& server = *static_cast<Listener*>(handle->data)->server;
    server.listeners.erase(reinterpret_cast<uv_pipe_t*>(handle));
    server.report_end();
  });
}

void HttpServer::Impl::close_listeners() {
  for (auto& [handle, listener] : listeners) {
    close_listener(*listener);
  }
}

// Each callback is the last thing done: it may destroy the server.
void HttpServer::Impl::report_end() {
  if (!connections.empty()) return;
  if (on_drained) {
    std::exchange(on_drained, nullptr)();
  } else if (on_closed && listeners.empty()) {
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
                                  const std::string& via) {
  auto socket = make_listening_socket(path, mode, group);
  if (!socket) return tl::unexpected(std::move(socket.error()));
  return impl_->add_listener(socket->fd, std::move(socket->file), via);
}

core::Result<> HttpServer::adopt(int fd, const std::string& via) {
  if (auto good = check_listening_socket(fd); !good) return good;
  return impl_->add_listener(fd, {}, via);
}

void HttpServer::drain(std::function<void()> drained) {
  CHECK(!impl_->context.draining);
  impl_->context.draining = true;
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
  impl_->report_end();
}

std::size_t HttpServer::connections() const {
  return impl_->connections.size();
}

}  // namespace mailotp::daemon
