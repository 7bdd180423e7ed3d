// A thread in which libesmtp speaks SMTP, one session after another, on sockets that the loop gives it. What
// it says goes through the loop's Conversation before a relay sees it; its results are never asked for: the
// replies are read there.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <variant>

#include "core/secret.h"

namespace mailotp::mail {

// DSN conditions (RFC 3461 section 4.1), as a sum.
inline constexpr unsigned k_notify_success = 1;
inline constexpr unsigned k_notify_failure = 2;
inline constexpr unsigned k_notify_delay = 4;

struct OutgoingMessage {
  std::string return_path;
  std::string recipient;
  std::string envid;  // empty: none
  std::string orcpt;  // empty: none
  unsigned notify = 0;
  enum class Dsn { off, on } dsn = Dsn::off;  // the relay offers it
  enum class Body { seven_bit, eight_bit } body = Body::seven_bit;
  enum class Size { unsaid, declared } size_parameter = Size::unsaid;
  core::Secret content;
};

class ProtocolThread {
 public:
  // `name` is shown by the system's tools, cut at 15 characters; `hostname` goes into EHLO.
  ProtocolThread(const std::string& name, std::string hostname);
  // Ends the session under way and waits for the thread: close its socket's other end first.
  ~ProtocolThread();
  ProtocolThread(const ProtocolThread&) = delete;
  ProtocolThread& operator=(const ProtocolThread&) = delete;

  // A new session on `descriptor` (owned from here), with its first message. An older session must have had
  // its other end closed; it ends before the new one starts.
  void begin(int descriptor, OutgoingMessage first);
  // The next message of the session under way.
  void next(OutgoingMessage message);
  // No further message: the session ends after the one under way.
  void end();

  // Runs one session against a peer written down in advance, in the calling thread. Aborts the process when
  // libesmtp does not connect through us or does not say exactly what is expected. Also fills the tables that
  // libesmtp makes at first use, which must not happen in two threads at once.
  static void prove();

 private:
  struct Begin {
    int descriptor;
    OutgoingMessage first;
  };
  struct End {};
  struct Quit {};
  using Order = std::variant<Begin, OutgoingMessage, End, Quit>;
  class Session;

  void give(Order order);
  [[nodiscard]] Order take();
  // The next message of this session; false: it is to end.
  [[nodiscard]] bool take_message(OutgoingMessage& message);
  void run(const std::string& name);

  std::string hostname_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Order> orders_;
  std::thread thread_;
};

}  // namespace mailotp::mail
