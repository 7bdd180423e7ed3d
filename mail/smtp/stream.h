// A connected socket on the loop, plain or under TLS, that never blocks. One listener at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "mail/agent/loop_handles.h"
#include "mail/agent/tls.h"

namespace mailotp::mail {

// Called on the loop thread. Any of these may call close(), but must not destroy the stream.
class StreamListener {
 public:
  virtual ~StreamListener() = default;
  virtual void on_bytes(std::string_view bytes) = 0;
  virtual void on_secured() {}  // the handshake succeeded
  virtual void on_drained() {}  // all that was written is with the kernel
  // The peer closed, the connection broke or TLS failed; nothing more comes.
  virtual void on_end(const std::string& reason) = 0;
};

class Stream {
 public:
  // Owns `descriptor`, a connected non-blocking socket.
  Stream(uv_loop_t* loop, int descriptor, StreamListener& listener);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void listen(StreamListener& listener) { listener_ = &listener; }
  // From now on TLS, handshake first; nothing may be unsent.
  void secure(TlsPtr tls);
  [[nodiscard]] ssl_st* tls() const { return tls_.get(); }

  // Hands to the kernel what it takes and keeps the rest. A broken connection shows later, in on_end: what
  // the peer said before it broke is read first.
  void write(std::string_view bytes);
  // What the kernel has not taken, also after the end. While it is not 0 the peer cannot have seen the last
  // byte: under TLS a record is of no use before its last byte is there.
  [[nodiscard]] std::size_t unsent() const { return out_.size(); }
  // Bytes that the kernel has taken so far.
  [[nodiscard]] std::uint64_t sent() const { return sent_; }
  // Reads what has already arrived, at once.
  void read_now();
  enum class Reading { on, off };
  void set_reading(Reading reading);
  // At once, without a farewell; nothing is called afterwards.
  void close();
  [[nodiscard]] bool closed() const { return descriptor_ < 0; }

 private:
  void ready(int events);
  void handshake();
  void flush();
  // Bytes moved, 0 for "not now"; an error's text is the reason of the end.
  [[nodiscard]] core::Result<std::size_t> receive();
  [[nodiscard]] core::Result<std::size_t> send(std::string_view bytes);
  [[nodiscard]] core::Result<std::size_t> tls_result(int result);
  void end(const std::string& reason);
  void update_watch();

  StreamListener* listener_;
  int descriptor_;
  std::optional<Poll> poll_;
  TlsPtr tls_;
  enum class Tls { none, handshake, established } tls_state_ = Tls::none;
  bool wants_write_ = false;  // TLS must write before it can go on
  Reading reading_ = Reading::on;
  std::string out_;
  std::uint64_t sent_ = 0;
  std::array<char, 16 * 1024> in_;
};

}  // namespace mailotp::mail
