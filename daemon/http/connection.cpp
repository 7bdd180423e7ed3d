#include "daemon/http/connection.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "core/check.h"

namespace mailotp::daemon {
namespace {

constexpr std::size_t k_most_discarded = 4 * 1024 * 1024;  // bytes that a refused client may still send
constexpr std::string_view k_continue = "HTTP/1.1 100 Continue\r\n\r\n";

bool is_header_text(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
}

bool can_be_sent(const HttpResponse& response) {
  return !reason_phrase(response.status).empty() && is_header_text(response.content_type) &&
         std::all_of(response.headers.begin(), response.headers.end(), [](const auto& header) {
           return is_header_text(header.first) && is_header_text(header.second);
         });
}

HttpResponse internal_problem(std::string detail, const std::string& request_id) {
  ProblemDetail problem;
  problem.problem = Problem::internal;
  problem.detail = std::move(detail);
  return make_problem(problem, request_id);
}

// None where the kernel does not say (before Linux 4.13): nobody is then known by one.
std::vector<gid_t> groups_of(int fd) {
  std::vector<gid_t> groups(32);
  for (;;) {
    auto size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    const int error = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) == 0 ? 0 : errno;
    const std::size_t count = size / sizeof(gid_t);
    if (error == ERANGE && count > groups.size()) {
      groups.resize(count);
      continue;
    }
    groups.resize(error == 0 ? count : 0);
    return groups;
  }
}

PeerCredentials credentials_of(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return {};
  return {credentials.uid, credentials.gid, credentials.pid, groups_of(fd)};
}

}  // namespace

// The bytes of an answer that the kernel did not take at once.
struct Connection::Write {
  uv_write_t request{};
  std::string head;
  std::string body;
};

Connection::Connection(ServerContext& server) : server_(server), parser_(server_.limits) {
  CHECK(uv_pipe_init(server_.loop, &pipe_, 0) == 0);
  CHECK(uv_timer_init(server_.loop, &timer_) == 0);
  pipe_.data = this;
  timer_.data = this;
  open_handles_ = 2;
}

int Connection::accept(uv_stream_t* listener, const std::string& via) {
  if (const int error = uv_accept(listener, stream()); error != 0) return error;
  peer_ = credentials_of(descriptor());
  via_ = via;
  update_reading();
  arm_for_state();
  return reading_ ? 0 : UV_EIO;
}

void Connection::shed(uv_stream_t* listener) {
  if (uv_accept(listener, stream()) == 0) {
    ProblemDetail problem;
    problem.problem = Problem::overloaded;
    problem.detail = "there are too many connections";
    const std::string request_id = server_.make_request_id();
    const HttpResponse response = make_problem(problem, request_id);
    std::string text = serialize_head(response, request_id, AfterWrite::close) + response.body;
    uv_buf_t buffer = uv_buf_init(text.data(), static_cast<unsigned>(text.size()));
    (void)uv_try_write(stream(), &buffer, 1);  // a courtesy; the connection ends either way
  }
  close();
}

void Connection::drain() {
  if (closing_ || lingering_) return;
  const bool idle = !exchange_ && !writing_ && parser_.idle();
  last_read_ = idle && kernel_has_input();
  if (idle && !last_read_) {
    close();
    return;
  }
  update_reading();
  arm_for_state();
}

void Connection::close() {
  if (closing_) return;
  closing_ = true;
  const std::shared_ptr<Exchange> exchange = std::exchange(exchange_, nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&pipe_), on_closed);
  uv_close(reinterpret_cast<uv_handle_t*>(&timer_), on_closed);
  if (!exchange) return;
  exchange->connection = nullptr;
  if (const auto on_gone = std::exchange(exchange->on_gone, nullptr)) on_gone();
}

void Connection::process() {
  if (in_process_) return;  // the loop below goes on when the handler returns
  in_process_ = true;
  while (!closing_ && !lingering_ && !exchange_ && !writing_) {
    const RequestParser::Status status = parser_.advance();
    if (status == RequestParser::Status::complete) {
      dispatch();
    } else if (status == RequestParser::Status::failed) {
      refuse(parser_.failure());
    } else {
      need_more();
      break;
    }
  }
  in_process_ = false;
  if (closing_) return;
  update_reading();
  arm_for_state();
}

void Connection::dispatch() {
  ParsedRequest parsed = parser_.take();
  partial_request_ = false;
  late_ = false;
  keep_alive_ = parsed.keep_alive;
  parsed.request.peer = peer_;
  parsed.request.via = via_;
  parsed.request.request_id = server_.make_request_id();
  exchange_ = std::make_shared<Exchange>();
  exchange_->connection = this;
  exchange_->request_id = parsed.request.request_id;
  server_.handler(std::move(parsed.request), Responder(exchange_));
}

void Connection::need_more() {
  if (parser_.take_continue()) {
    uv_buf_t buffer = uv_buf_init(const_cast<char*>(k_continue.data()), k_continue.size());
    // When the kernel does not take 25 bytes now, the client sends its body after a while all the same.
    (void)uv_try_write(stream(), &buffer, 1);
  }
  if (parser_.idle()) {
    partial_request_ = false;
    if (end_of_input_ || server_.draining) close();
  } else if (end_of_input_) {
    HeadFailure failure;
    failure.problem.problem = Problem::malformed_request;
    failure.problem.detail = "the request ends too early";
    refuse(failure);
  }
}

// Where the next request would begin is unknown, or not worth knowing: the connection ends with this answer.
void Connection::refuse(const HeadFailure& failure) {
  const std::string request_id = server_.make_request_id();
  HttpResponse response = make_problem(failure.problem, request_id);
  std::string head = serialize_head(response, request_id, AfterWrite::linger);
  if (failure.head_method) response.body.clear();
  send(std::move(head), std::move(response.body), AfterWrite::linger);
}

void Connection::respond(HttpResponse response) {
  const std::shared_ptr<Exchange> exchange = std::exchange(exchange_, nullptr);
  exchange->connection = nullptr;
  if (!can_be_sent(response)) {
    server_.log.write(core::LogLevel::error,
                      fmt::format("event=http_answer_unsendable request_id={}", exchange->request_id));
    response = internal_problem("the answer cannot be sent", exchange->request_id);
  }
  const bool more = parser_.advance() == RequestParser::Status::complete;
  const bool last = !keep_alive_ || (server_.draining && !more) || (end_of_input_ && parser_.idle());
  const AfterWrite after = last ? AfterWrite::close : AfterWrite::next_request;
  std::string head = serialize_head(response, exchange->request_id, after);
  send(std::move(head), std::move(response.body), after);
}

void Connection::answer_dropped() {
  server_.log.write(core::LogLevel::error,
                    fmt::format("event=http_unanswered request_id={}", exchange_->request_id));
  respond(internal_problem("the request was not answered", exchange_->request_id));
}

std::string Connection::serialize_head(const HttpResponse& response, const std::string& request_id,
                                       AfterWrite after) const {
  std::string out;
  out.reserve(512);
  fmt::format_to(std::back_inserter(out),
                 "HTTP/1.1 {} {}\r\n"
                 "Content-Type: {}\r\n"
                 "Content-Length: {}\r\n"
                 "Cache-Control: no-store\r\n"
                 "X-Request-Id: {}\r\n",
                 response.status, reason_phrase(response.status), response.content_type, response.body.size(),
                 request_id);
  for (const auto& [name, value] : response.headers) {
    out.append(name).append(": ").append(value).append("\r\n");
  }
  if (after != AfterWrite::next_request) out.append("Connection: close\r\n");
  out.append("\r\n");
  return out;
}

void Connection::send(std::string head, std::string body, AfterWrite after) {
  after_write_ = after;
  std::array<uv_buf_t, 2> buffers{uv_buf_init(head.data(), static_cast<unsigned>(head.size())),
                                  uv_buf_init(body.data(), static_cast<unsigned>(body.size()))};
  const int taken = uv_try_write(stream(), buffers.data(), body.empty() ? 1 : 2);
  if (taken < 0 && taken != UV_EAGAIN) {
    close();
    return;
  }
  const auto done = static_cast<std::size_t>(std::max(taken, 0));
  if (done == head.size() + body.size()) {
    finish_write();
    return;
  }
  auto write = std::make_unique<Write>();
  write->request.data = this;
  write->head = done < head.size() ? head.substr(done) : std::string();
  const std::size_t body_done = done > head.size() ? done - head.size() : 0;
  write->body = std::move(body);
  buffers = {
      uv_buf_init(write->head.data(), static_cast<unsigned>(write->head.size())),
      uv_buf_init(write->body.data() + body_done, static_cast<unsigned>(write->body.size() - body_done))};
  writing_ = true;
  unsent_ = write->head.size() + write->body.size() - body_done;
  const int error =
      uv_write(&write->request, stream(), buffers.data(), 2, [](uv_write_t* request, int status) noexcept {
        // The request is the first member of what send() allocated.
        const std::unique_ptr<Write> finished(reinterpret_cast<Write*>(request));
        static_cast<Connection*>(request->data)->written(status);
      });
  if (error != 0) {
    close();
    return;
  }
  (void)write.release();  // the callback above owns it
  if (!in_process_) {
    update_reading();
    arm_for_state();
  }
}

void Connection::written(int status) {
  writing_ = false;
  if (closing_) return;
  if (status < 0) {
    close();
    return;
  }
  finish_write();
}

void Connection::finish_write() {
  switch (after_write_) {
    case AfterWrite::next_request:
      process();
      return;
    case AfterWrite::close:
      close();
      return;
    case AfterWrite::linger:
      linger();
      return;
  }
}

// A refused client may still be sending: closing now would turn the rest into an error that can hide the
// answer.
void Connection::linger() {
  if (end_of_input_ || ::shutdown(descriptor(), SHUT_WR) != 0) {
    close();
    return;
  }
  lingering_ = true;
  update_reading();
  arm(server_.limits.linger);
}

void Connection::input_ended() {
  if (lingering_ || peer_is_gone()) {
    close();
    return;
  }
  end_of_input_ = true;
  update_reading();
  process();
  if (!closing_) arm_for_state();
}

void Connection::update_reading() {
  const bool busy = exchange_ || writing_;
  const bool full = busy && (server_.draining || parser_.buffered() >= server_.limits.read_ahead_bytes);
  const bool wanted = !closing_ && !end_of_input_ && (lingering_ || !full);
  if (wanted == reading_) return;
  if (wanted) {
    reading_ = uv_read_start(stream(), on_allocate, on_read) == 0;
  } else {
    (void)uv_read_stop(stream());  // always 0
    reading_ = false;
  }
}

// One deadline at a time; which one follows from the state.
void Connection::arm_for_state() {
  if (closing_ || lingering_) return;  // the linger time runs from its beginning
  if (writing_) {
    arm(server_.limits.write_stall);
  } else if (exchange_) {
    // Without reading, only looking tells whether the client is still there.
    if (reading_) {
      disarm();
    } else {
      arm(server_.limits.gone_interval);
    }
  } else if (parser_.idle()) {
    arm(server_.limits.idle);
  } else if (!partial_request_) {
    partial_request_ = true;
    arm(server_.limits.request);
  }
}

void Connection::arm(std::chrono::milliseconds wait) {
  const std::uint64_t now = uv_now(server_.loop);
  deadline_ = now + static_cast<std::uint64_t>(std::max<std::int64_t>(1, wait.count()));
  if (timer_at_ != 0 && timer_at_ <= deadline_) return;
  timer_at_ = deadline_;
  (void)uv_timer_start(&timer_, on_timer, deadline_ - now, 0);  // fails only without a callback
}

// The whole process may have been stopped for longer than any of these times: what the client did meanwhile
// is looked at first.
void Connection::expired() {
  if (writing_) {
    const std::size_t unsent = uv_stream_get_write_queue_size(stream());
    if (unsent >= unsent_ && !kernel_has_room()) {
      close();
      return;
    }
    unsent_ = unsent;
    arm(server_.limits.write_stall);
  } else if (exchange_) {
    if (peer_is_gone()) {
      close();
    } else {
      arm(server_.limits.gone_interval);
    }
  } else if (!lingering_ && !late_ && kernel_has_input()) {
    late_ = true;
    arm(server_.limits.gone_interval);
  } else if (lingering_ || parser_.idle()) {
    close();
  } else {
    HeadFailure failure;
    failure.problem.problem = Problem::malformed_request;
    failure.problem.detail = "the request did not come to its end in time";
    refuse(failure);
  }
}

// After the end of input: POLLHUP says that the client closed; without it, it only shut down its sending side
// and waits for answers.
bool Connection::peer_is_gone() const {
  pollfd entry{descriptor(), 0, 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & (POLLHUP | POLLERR)) != 0;
}

bool Connection::kernel_has_input() const {
  int bytes = 0;
  return ::ioctl(descriptor(), FIONREAD, &bytes) == 0 && bytes > 0;
}

bool Connection::kernel_has_room() const {
  pollfd entry{descriptor(), POLLOUT, 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & POLLOUT) != 0;
}

int Connection::descriptor() const {
  uv_os_fd_t fd = -1;
  CHECK(uv_fileno(reinterpret_cast<const uv_handle_t*>(&pipe_), &fd) == 0);
  return fd;
}

void Connection::on_allocate(uv_handle_t* handle, std::size_t, uv_buf_t* buffer) noexcept {
  auto& self = *static_cast<Connection*>(handle->data);
  std::size_t room = self.server_.scratch.size();
  if (!self.lingering_ && (self.exchange_ || self.writing_)) {
    room = std::min(room, self.server_.limits.read_ahead_bytes - self.parser_.buffered());
  }
  *buffer = uv_buf_init(self.server_.scratch.data(), static_cast<unsigned>(room));
}

void Connection::on_read(uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer) noexcept {
  auto& self = *static_cast<Connection*>(stream->data);
  if (count == 0) return;  // EAGAIN
  if (count == UV_EOF) {
    self.input_ended();
    return;
  }
  if (count < 0) {
    self.close();
    return;
  }
  const auto size = static_cast<std::size_t>(count);
  self.last_read_ = false;
  if (!self.lingering_) self.parser_.feed({buffer->base, size});
  ::explicit_bzero(buffer->base, size);
  if (!self.lingering_) {
    self.process();
    return;
  }
  self.discarded_ += size;
  if (self.discarded_ > k_most_discarded) self.close();
}

void Connection::on_timer(uv_timer_t* timer) noexcept {
  auto& self = *static_cast<Connection*>(timer->data);
  self.timer_at_ = 0;
  if (self.closing_ || self.deadline_ == 0) return;
  const std::uint64_t now = uv_now(self.server_.loop);
  if (now < self.deadline_) {
    self.timer_at_ = self.deadline_;
    (void)uv_timer_start(&self.timer_, on_timer, self.deadline_ - now, 0);  // fails only without a callback
    return;
  }
  self.deadline_ = 0;
  self.expired();
}

void Connection::on_closed(uv_handle_t* handle) noexcept {
  auto& self = *static_cast<Connection*>(handle->data);
  if (--self.open_handles_ == 0) self.server_.closed(self);
}

}  // namespace mailotp::daemon
