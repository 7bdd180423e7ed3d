// One session of libesmtp, which wants to block, in the loop, which may not: it runs on a stack of its own
// and gives the word back where it would wait. Its socket is a pair of buffers here. What it says goes
// through the Conversation before a relay sees it; its results are never asked for: the replies are read
// there.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/secret.h"
#include "mail/smtp/fiber.h"
#include "mail/smtp/socket_override.h"

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

class Engine final : private StandIn {
 public:
  // `hostname` goes into EHLO. libesmtp says nothing before it has a message.
  explicit Engine(std::string hostname);
  ~Engine() override;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // The first message, or the next one once the one before has ended.
  void send(OutgoingMessage message);
  // For libesmtp to read.
  void hear(std::string_view bytes) { heard_ += bytes; }
  // Whether run() would get further: it has something to read or to send, or has more to say.
  [[nodiscard]] bool can_run() const;
  // Lets libesmtp work until it waits or has said a good deal. What it said is valid until the next call.
  [[nodiscard]] std::string_view run();
  // Wipes what run() has returned: a mail with its code.
  void forget_said();
  // No further message and nothing more to read: its session ends here and now, whatever it was at.
  void end();
  // libesmtp has ended its session.
  [[nodiscard]] bool over() const { return fiber_.over(); }
  // … and why it has not even begun one; empty otherwise.
  [[nodiscard]] const std::string& fault() const { return fault_; }

  // Runs one session against a peer written down in advance. Aborts the process when libesmtp's socket is not
  // ours or it does not say exactly what is expected. To be called before the first Engine is made.
  static void prove();

 private:
  class Session;

  bool write(std::string_view bytes) override;
  std::size_t read(char* bytes, std::size_t size) override;
  bool readable() override;
  void wait() override;
  // The next message of this session; false: it is to end.
  [[nodiscard]] bool take_message(OutgoingMessage& message);
  void resume();

  std::string hostname_;
  std::optional<OutgoingMessage> next_;
  std::string heard_;
  std::size_t read_ = 0;  // of heard_
  std::string said_;
  bool full_ = false;  // it paused because of said_
  bool ended_ = false;
  std::string fault_;
  Fiber fiber_;
};

}  // namespace mailotp::mail
