// One accepted connection: reads, parses, hands one request at a time to the handler, writes the answer.
// Private to the server. Loop thread only; no call deletes the connection: that happens in the close
// callback.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <uv.h>

#include "daemon/http/parser.h"
#include "daemon/http/server.h"

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
  bool draining = false;
  // Where reads land: one at a time, and wiped after each.
  std::array<char, 64 * 1024> scratch{};
};

// What a Responder and its connection share; `connection` is null once the connection died or was answered.
struct Exchange {
  Connection* connection = nullptr;
  std::string request_id;
  std::function<void()> on_gone;
};

class Connection {
 public:
  explicit Connection(ServerContext& server);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() = default;

  // Takes the connection that waits at `listener`, which is called `via`, and reads from it. A libuv error
  // code, or 0. Whatever it is, the connection must be closed later.
  [[nodiscard]] int accept(uv_stream_t* listener, const std::string& via);
  // For one connection too many: takes it, answers 503 `overloaded` and closes.
  void shed(uv_stream_t* listener);
  // The server drains: what has been sent to us by now is answered; closes when that is nothing.
  void drain();
  // Detaches the request that is being handled (on_gone runs), then closes.
  void close();

  // By the Responder: its answer, and that it went without one.
  void respond(HttpResponse response);
  void answer_dropped();

 private:
  enum class AfterWrite : std::uint8_t { next_request, close, linger };
  struct Write;

  void process();
  void dispatch();
  void need_more();
  void refuse(const HeadFailure& failure);
  void input_ended();
  void update_reading();

  void send(std::string head, std::string body, AfterWrite after);
  void written(int status);
  void finish_write();
  void linger();

  void arm_for_state();
  void arm(std::chrono::milliseconds wait);
  void disarm() { deadline_ = 0; }
  void expired();
  [[nodiscard]] bool peer_is_gone() const;
  [[nodiscard]] bool kernel_has_input() const;
  [[nodiscard]] bool kernel_has_room() const;
  [[nodiscard]] int descriptor() const;
  [[nodiscard]] std::string serialize_head(const HttpResponse& response, const std::string& request_id,
                                           AfterWrite after) const;
  uv_stream_t* stream() { return reinterpret_cast<uv_stream_t*>(&pipe_); }

  static void on_allocate(uv_handle_t* handle, std::size_t suggested, uv_buf_t* buffer) noexcept;
  static void on_read(uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer) noexcept;
  static void on_timer(uv_timer_t* timer) noexcept;
  static void on_closed(uv_handle_t* handle) noexcept;

  ServerContext& server_;
  uv_pipe_t pipe_{};
  uv_timer_t timer_{};
  int open_handles_ = 0;
  RequestParser parser_;
  PeerCredentials peer_;
  std::string via_;

  std::shared_ptr<Exchange> exchange_;  // the request that is being handled
  bool keep_alive_ = true;              // what that request asked for
  bool in_process_ = false;             // respond() may come from inside the handler
  bool reading_ = false;
  bool end_of_input_ = false;  // the client shut down its sending side
  bool writing_ = false;
  bool lingering_ = false;
  bool closing_ = false;
  bool partial_request_ = false;  // its time is running
  bool late_ = false;             // its time is over, but there was something to read yet
  bool last_read_ = false;        // draining: what the kernel has is still read
  AfterWrite after_write_ = AfterWrite::next_request;
  std::size_t unsent_ = 0;     // bytes, when the write time-out was last armed
  std::size_t discarded_ = 0;  // bytes read while lingering

  // Loop time in ms; 0 is none. A deadline that moves back does not restart the timer: it looks again when it
  // fires.
  std::uint64_t deadline_ = 0;
  std::uint64_t timer_at_ = 0;
};

}  // namespace mailotp::daemon
