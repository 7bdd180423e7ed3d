// One accepted connection: reads, parses, hands one request at a time to the handler, writes the answer.
// Private to the server. Loop thread only; no call deletes the connection: that happens in the close
// callback.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <uv.h>

#include "daemon/http/outgoing.h"
#include "daemon/http/parser.h"
#include "daemon/http/response_head.h"
#include "daemon/http/server.h"
#include "daemon/http/turns.h"
#include "daemon/http/uid_loads.h"

namespace mailotp::daemon {

class Connection;

// What the connections share. Owned by the server, outlives them.
struct ServerContext {
  uv_loop_t* loop;
  HttpLimits limits;
  HttpHandler handler;
  std::function<std::string()> make_request_id;
  core::Log& log;
  std::function<void(Connection&)> closed;  // its handles are closed: it may be deleted
  // Tells the log, not too often, that a uid has reached a limit.
  std::function<void(uid_t, std::string_view)> uid_limited;
  Turns turns;
  // Shared with requests that outlive the server.
  std::shared_ptr<UidLoads> loads = std::make_shared<UidLoads>();
  // Where reads land: one at a time, and wiped after each.
  std::array<char, 64 * 1024> scratch{};
};

// What a Responder or an HttpStream and its connection share; `connection` is null once the connection died
// or the answer was given in full.
struct Exchange {
  Connection* connection = nullptr;
  std::string request_id;
  std::optional<UidLoads::Place> place;  // goes when the handler lets go, too
  std::function<void()> on_gone;
  std::function<void()> on_writable;  // of a stream
};

class Connection {
 public:
  Connection(ServerContext& server, std::string via);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() = default;

  // Takes the connection that waits at `listener`. A libuv error code, or 0. Whatever it is, the connection
  // must be closed later.
  [[nodiscard]] int accept(uv_stream_t* listener);
  // Once accepted, one of the two: reads from it, unless its uid has too many; or, for one connection too
  // many, answers 503 `overloaded` and closes.
  void open();
  void shed(std::string_view reason);
  // By the Turns that it waited for.
  void take_turn();
  // The server drains, or this connection's socket is gone: what has been sent to us by now is answered;
  // closes when that is nothing.
  void drain();
  // As its listener was called when it came.
  [[nodiscard]] const std::string& via() const { return via_; }
  // Detaches the request that is being handled (on_gone runs), then closes.
  void close();

  // By the Responder: its answer, and that it went without one.
  void respond(HttpResponse response);
  void answer_dropped();

  // By the Responder, then by its HttpStream. One that is dropped closes.
  void start_stream(const StreamHead& head);
  [[nodiscard]] bool write_chunk(std::string bytes);
  [[nodiscard]] bool writable() const { return !chunk_unsent_; }
  void end_stream();

 private:
  enum class AfterWrite : std::uint8_t { next_request, close, linger };

  void schedule();
  void process();
  void dispatch();
  void need_more();
  void refuse(const HeadFailure& failure);
  void input_ended();
  void update_reading();

  void answer(HttpResponse response, const std::string& request_id, AfterWrite after);
  [[nodiscard]] AfterWrite after_answer();
  void send(std::string head, std::string body = {}, std::string_view tail = {});
  void send_answer(std::string head, std::string body);
  void wait_for_room();
  void written(int status);
  void stream_written();
  void finish_stream();
  void finish_write();
  void linger();

  void arm_for_state();
  void arm(std::chrono::milliseconds wait) { arm_at(after(wait)); }
  [[nodiscard]] std::chrono::milliseconds patience(std::chrono::milliseconds usual) const;
  void arm_at(std::uint64_t deadline);
  [[nodiscard]] std::uint64_t after(std::chrono::milliseconds wait) const;
  void disarm() { deadline_ = 0; }
  void expired();
  [[nodiscard]] bool is_late() const { return deadline_ != 0 && deadline_ <= uv_now(server_.loop); }
  [[nodiscard]] bool is_busy() const { return turn_ || exchange_ || !outgoing_.empty(); }
  [[nodiscard]] bool peer_is_gone() const;
  [[nodiscard]] bool kernel_has_input() const;
  [[nodiscard]] bool kernel_has_room() const;
  [[nodiscard]] int descriptor() const;
  uv_stream_t* stream() { return reinterpret_cast<uv_stream_t*>(&pipe_); }

  static void on_allocate(uv_handle_t* handle, std::size_t suggested, uv_buf_t* buffer) noexcept;
  static void on_read(uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer) noexcept;
  static void on_timer(uv_timer_t* timer) noexcept;
  static void on_closed(uv_handle_t* handle) noexcept;

  ServerContext& server_;
  uv_pipe_t pipe_{};
  uv_timer_t timer_{};
  int open_handles_ = 0;
  Outgoing outgoing_;
  RequestParser parser_;
  PeerCredentials peer_;
  std::optional<UidLoads::Place> place_;
  std::optional<Turns::Place> turn_;  // input waits to be looked at
  const std::string via_;

  std::shared_ptr<Exchange> exchange_;        // the request that is being handled
  std::optional<UidLoads::Place> answering_;  // its answer is on its way
  bool keep_alive_ = true;                    // what that request asked for
  bool chunks_understood_ = true;             // by its client
  bool streaming_ = false;                    // its answer has begun
  bool chunked_ = false;                      // … in chunks
  std::optional<std::uint64_t> body_left_;    // … of a length that was told, of which so much is to come
  bool chunk_unsent_ = false;
  bool reading_ = false;
  bool end_of_input_ = false;  // the client shut down its sending side
  bool lingering_ = false;
  bool closing_ = false;
  bool late_ = false;  // its time is over, but there was something to read yet
  bool draining_ = false;
  bool last_read_ = false;  // draining: what the kernel has is still read
  AfterWrite after_write_ = AfterWrite::next_request;
  std::size_t unsent_ = 0;     // bytes, when the write time-out was last armed
  std::size_t discarded_ = 0;  // bytes read while lingering

  // Loop time in ms; 0 is none. A deadline that moves back does not restart the timer: it looks again when it
  // fires.
  std::uint64_t request_until_ = 0;  // for the request that is read at present
  std::uint64_t deadline_ = 0;
  std::uint64_t timer_at_ = 0;
};

}  // namespace mailotp::daemon
