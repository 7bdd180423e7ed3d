#include "daemon/http/connection.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "core/check.h"
#include "daemon/http/peer.h"

namespace mailotp::daemon {
namespace {

constexpr std::size_t k_most_discarded = 4 * 1024 * 1024;  // bytes that a refused client may still send
constexpr std::string_view k_continue = "HTTP/1.1 100 Continue\r\n\r\n";

StreamHead head_of(HttpResponse& response) {
  return {response.status, std::move(response.content_type), std::move(response.headers)};
}

std::string content_length(const HttpResponse& response) {
  return fmt::format("Content-Length: {}\r\n", response.body.size());
}

ProblemDetail overloaded(std::string_view reason) {
  ProblemDetail problem;
  problem.problem = Problem::overloaded;
  problem.detail = std::string(reason);
  return problem;
}

HttpResponse internal_problem(std::string detail, const std::string& request_id) {
  ProblemDetail problem;
  problem.problem = Problem::internal;
  problem.detail = std::move(detail);
  return make_problem(problem, request_id);
}

}  // namespace

Connection::Connection(ServerContext& server, std::string via)
    : server_(server),
      outgoing_(stream(), [this](int status) { written(status); }),
      parser_(server_.limits),
      via_(std::move(via)) {
  CHECK(uv_pipe_init(server_.loop, &pipe_, 0) == 0);
  CHECK(uv_timer_init(server_.loop, &timer_) == 0);
  pipe_.data = this;
  timer_.data = this;
  open_handles_ = 2;
}

int Connection::accept(uv_stream_t* listener) {
  if (const int error = uv_accept(listener, stream()); error != 0) return error;
  peer_ = credentials_of(descriptor());
  return 0;
}

void Connection::open() {
  place_ =
      UidLoads::take(server_.loads, peer_.uid, UidLoads::Kind::connection, server_.limits.connections_of_uid);
  if (!place_) {
    server_.uid_limited(peer_.uid, "connections");
    shed("this user has too many connections");
    return;
  }
  update_reading();
  arm_for_state();
  if (!reading_) close();
}

void Connection::shed(std::string_view reason) {
  const std::string request_id = server_.make_request_id();
  HttpResponse response = make_problem(overloaded(reason), request_id);
  const std::string length = content_length(response);
  std::string text =
      serialize_head(head_of(response), length, request_id, ConnectionField::close) + response.body;
  uv_buf_t buffer = uv_buf_init(text.data(), static_cast<unsigned>(text.size()));
  (void)uv_try_write(stream(), &buffer, 1);  // a courtesy; the connection ends either way
  close();
}

void Connection::drain() {
  draining_ = true;
  if (closing_ || lingering_) return;
  if (streaming_ && outgoing_.empty()) {
    finish_stream();
    return;
  }
  const bool idle = !exchange_ && outgoing_.unsent() == 0 && parser_.idle();
  last_read_ = idle && kernel_has_input();
  if (idle && !last_read_) {
    close();
    return;
  }
  if (!parser_.idle()) {
    const std::uint64_t until = after(patience(server_.limits.request));
    request_until_ = request_until_ == 0 ? until : std::min(request_until_, until);
  }
  update_reading();
  arm_for_state();
}

void Connection::close() {
  if (closing_) return;
  closing_ = true;
  if (turn_) server_.turns.remove(peer_.uid, *std::exchange(turn_, std::nullopt));
  answering_.reset();
  const std::shared_ptr<Exchange> exchange = std::exchange(exchange_, nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&pipe_), on_closed);
  uv_close(reinterpret_cast<uv_handle_t*>(&timer_), on_closed);
  if (!exchange) return;
  exchange->connection = nullptr;
  if (const auto on_gone = std::exchange(exchange->on_gone, nullptr)) on_gone();
}

// What there may be to do waits for the turn of this uid.
void Connection::schedule() {
  if (parser_.idle()) {
    process();
    return;
  }
  if (!is_busy()) turn_ = server_.turns.add(peer_.uid, *this);
  update_reading();
  arm_for_state();
}

// The deadline is looked at here, too: the timer does not fire for a connection that waits for its turn each
// time the timers are looked at.
void Connection::take_turn() {
  turn_.reset();
  if (is_late() && (lingering_ || parser_.idle())) {
    expired();
    return;
  }
  process();
  if (is_late() && !closing_ && !is_busy()) expired();
}

void Connection::process() {
  if (!closing_ && !lingering_ && !is_busy()) {
    switch (parser_.advance()) {
      case RequestParser::Status::complete:
        dispatch();
        break;
      case RequestParser::Status::failed:
        refuse(parser_.failure());
        break;
      case RequestParser::Status::need_more:
        need_more();
        break;
    }
  }
  if (closing_) return;
  update_reading();
  arm_for_state();
}

void Connection::dispatch() {
  ParsedRequest parsed = parser_.take();
  request_until_ = 0;
  late_ = false;
  keep_alive_ = parsed.keep_alive;
  chunks_understood_ = parsed.chunks_understood;
  parsed.request.peer = peer_;
  parsed.request.via = via_;
  parsed.request.request_id = server_.make_request_id();
  exchange_ = std::make_shared<Exchange>();
  exchange_->connection = this;
  exchange_->request_id = parsed.request.request_id;
  exchange_->place =
      UidLoads::take(server_.loads, peer_.uid, UidLoads::Kind::request, server_.limits.requests_of_uid);
  if (!exchange_->place) {
    server_.uid_limited(peer_.uid, "requests");
    respond(make_problem(overloaded("this user has too many requests in hand"), exchange_->request_id));
    return;
  }
  server_.handler(std::move(parsed.request), Responder(exchange_));
}

void Connection::need_more() {
  if (parser_.take_continue()) {
    uv_buf_t buffer = uv_buf_init(const_cast<char*>(k_continue.data()), k_continue.size());
    // When the kernel does not take 25 bytes now, the client sends its body after a while all the same.
    (void)uv_try_write(stream(), &buffer, 1);
  }
  if (parser_.idle()) {
    request_until_ = 0;
    if (end_of_input_ || (draining_ && !last_read_)) close();
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
  if (!failure.head_method) return answer(std::move(response), request_id, AfterWrite::linger);
  after_write_ = AfterWrite::linger;
  const std::string length = content_length(response);
  send_answer(serialize_head(head_of(response), length, request_id, ConnectionField::close), {});
}

void Connection::respond(HttpResponse response) {
  const std::shared_ptr<Exchange> exchange = std::exchange(exchange_, nullptr);
  exchange->connection = nullptr;
  answering_ = std::exchange(exchange->place, std::nullopt);
  answer(std::move(response), exchange->request_id, after_answer());
}

void Connection::answer_dropped() {
  server_.log.write(core::LogLevel::error,
                    fmt::format("event=http_unanswered request_id={}", exchange_->request_id));
  respond(internal_problem("the request was not answered", exchange_->request_id));
}

void Connection::answer(HttpResponse response, const std::string& request_id, AfterWrite after) {
  StreamHead head = head_of(response);
  if (!can_be_sent(head)) {
    server_.log.write(core::LogLevel::error,
                      fmt::format("event=http_answer_unsendable request_id={}", request_id));
    response = internal_problem("the answer cannot be sent", request_id);
    head = head_of(response);
  }
  after_write_ = after;
  const auto field = after == AfterWrite::next_request ? ConnectionField::absent : ConnectionField::close;
  std::string text = serialize_head(head, content_length(response), request_id, field);
  send_answer(std::move(text), std::move(response.body));
}

Connection::AfterWrite Connection::after_answer() {
  const bool more = parser_.advance() == RequestParser::Status::complete;
  const bool last = !keep_alive_ || (draining_ && !more) || (end_of_input_ && parser_.idle());
  return last ? AfterWrite::close : AfterWrite::next_request;
}

void Connection::send(std::string head, std::string body, std::string_view tail) {
  if (outgoing_.send(std::move(head), std::move(body), tail) != 0) {
    close();
    return;
  }
  wait_for_room();
}

// An answer that is no stream. The kernel nearly always takes all of it, which is done with at once, unless
// the next request is here already: who sends many gets one answer in each turn of the loop.
void Connection::send_answer(std::string head, std::string body) {
  if (!parser_.idle()) {
    send(std::move(head), std::move(body));
  } else if (outgoing_.send_at_once(std::move(head), std::move(body)) != 0) {
    close();
  } else if (outgoing_.empty()) {
    finish_write();
  } else {
    wait_for_room();
  }
}

void Connection::wait_for_room() {
  unsent_ = outgoing_.unsent();
  update_reading();
  arm_for_state();
}

void Connection::written(int status) {
  if (closing_) return;
  if (status < 0) {
    close();
  } else if (outgoing_.empty()) {
    if (streaming_) {
      stream_written();
    } else {
      finish_write();
    }
  }
}

void Connection::finish_write() {
  answering_.reset();
  switch (after_write_) {
    case AfterWrite::next_request:
      schedule();
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
  arm(patience(server_.limits.linger));
}

void Connection::input_ended() {
  if (lingering_ || peer_is_gone()) {
    close();
    return;
  }
  end_of_input_ = true;
  schedule();
}

void Connection::update_reading() {
  const bool full = is_busy() && (draining_ || parser_.buffered() >= server_.limits.read_ahead_bytes);
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
  if (!outgoing_.empty()) {
    arm(patience(server_.limits.write_stall));
  } else if (exchange_ || turn_) {
    // Without reading, only looking tells whether the client is still there.
    if (reading_) {
      disarm();
    } else {
      arm(server_.limits.gone_interval);
    }
  } else if (parser_.idle()) {
    arm(server_.limits.idle);
  } else {
    if (request_until_ == 0) request_until_ = after(patience(server_.limits.request));
    arm_at(request_until_);
  }
}

// A stop does not wait for slow clients.
std::chrono::milliseconds Connection::patience(std::chrono::milliseconds usual) const {
  return draining_ ? std::min(usual, server_.limits.drain) : usual;
}

std::uint64_t Connection::after(std::chrono::milliseconds wait) const {
  return uv_now(server_.loop) + static_cast<std::uint64_t>(std::max<std::int64_t>(1, wait.count()));
}

void Connection::arm_at(std::uint64_t deadline) {
  deadline_ = deadline;
  if (timer_at_ != 0 && timer_at_ <= deadline_) return;
  timer_at_ = deadline_;
  const std::uint64_t now = uv_now(server_.loop);
  // Fails only without a callback.
  (void)uv_timer_start(&timer_, on_timer, deadline_ > now ? deadline_ - now : 0, 0);
}

// The whole process may have been stopped for longer than any of these times: what the client did meanwhile
// is looked at first.
void Connection::expired() {
  disarm();
  if (!outgoing_.empty()) {
    const std::size_t unsent = outgoing_.unsent();
    if (unsent > 0 && unsent >= unsent_ && !kernel_has_room()) {
      close();
      return;
    }
    unsent_ = unsent;
    arm(patience(server_.limits.write_stall));
  } else if (exchange_ || turn_) {
    if (peer_is_gone()) {
      close();
    } else {
      arm(server_.limits.gone_interval);
    }
  } else if (!lingering_ && !late_ && kernel_has_input()) {
    late_ = true;
    const std::uint64_t until = after(server_.limits.gone_interval);
    if (!parser_.idle()) request_until_ = until;
    arm_at(until);
  } else if (lingering_ || parser_.idle()) {
    close();
  } else {
    HeadFailure failure;
    failure.problem.problem = draining_ ? Problem::shutting_down : Problem::malformed_request;
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
  if (!self.lingering_ && self.is_busy()) {
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
    self.schedule();
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
  // Thousands may be late at the same time: whom to answer or to close waits for its turn.
  if (self.is_busy()) {
    self.expired();
  } else {
    self.turn_ = self.server_.turns.add(self.peer_.uid, self);
  }
}

void Connection::on_closed(uv_handle_t* handle) noexcept {
  auto& self = *static_cast<Connection*>(handle->data);
  if (--self.open_handles_ == 0) self.server_.closed(self);
}

}  // namespace mailotp::daemon
