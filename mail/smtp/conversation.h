// What libesmtp says and what the relay answers, put together: every byte of both sides passes here. It
// knows which command each reply belongs to, finds the final dot before it leaves, tells each message's
// outcome, and gives libesmtp only replies of our own wording. Pure: no I/O, no clock.
//
//   idle ─MAIL─► mail ─2xx─► rcpt ─2xx─► data ─354─► body ─dot found, dot_sent()─► dot ─2xx, 4xx, 5xx─► idle
//                 └─4xx,5xx─► idle  └─4xx,5xx─► the relay gets RSET (or the dot that its 354 wants) ─► idle
//   With RCPT and DATA on their way behind a refused MAIL their refusals are waited for: mail ─► rcpt ─► data
// 421, or a reply that fits no command, at any time ─► broken
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/delivery.h"
#include "mail/smtp/reply_reader.h"

namespace mailotp::mail {

// Where the Conversation's effects go. Bytes are to be passed on in order.
class ConversationPort {
 public:
  virtual ~ConversationPort() = default;
  virtual void to_relay(std::string_view bytes) = 0;
  virtual void to_engine(std::string_view bytes) = 0;
  // The rest of the body; the dot (`.` CRLF) is next, and leaves when dot_sent() is called.
  virtual void end_of_body(std::string_view rest) = 0;
  // A phase of the message begins, with its own deadline: mail, rcpt, data, body.
  virtual void phase(core::Stage stage) = 0;
  // The message's outcome; at most one of them a message.
  virtual void relayed(core::Reply reply) = 0;
  virtual void refused(core::Stage stage, core::Reply reply) = 0;
  // libesmtp waits for its next message.
  virtual void idle() = 0;
  // The connection is of no more use. Not called twice.
  virtual void broken(core::Stage stage, std::string reason, std::optional<core::Reply> reply) = 0;
};

class Conversation {
 public:
  // Where the relay takes pipelined commands, libesmtp's MAIL is answered before the relay has: MAIL, RCPT
  // and DATA then leave at once (libesmtp itself waits after MAIL).
  enum class Pipelining : std::uint8_t { no, yes };
  // `ehlo` answers libesmtp's own EHLO.
  Conversation(ConversationPort& port, std::string ehlo, Pipelining pipelining)
      : port_(port), ehlo_(std::move(ehlo)), pipelining_(pipelining) {}

  // What libesmtp reads first.
  [[nodiscard]] static std::string_view greeting() { return "220 relay\r\n"; }

  void from_engine(std::string_view bytes);
  void from_relay(const ReplyLines& reply);
  // Nothing more comes from the relay; what it has said counts.
  void relay_closed();
  // Answers end_of_body(): the dot is with the kernel, or may be.
  void dot_sent();

  // Where the message is: mail until its MAIL was taken, … dot once dot_sent() was called; mail again when
  // it has ended.
  [[nodiscard]] core::Stage stage() const { return stage_; }
  // Of the transaction under way; told when the commands behind it have been answered as well.
  [[nodiscard]] bool mail_refused() const { return mail_refused_; }

 private:
  enum class Command : std::uint8_t { mail, rcpt, data, dot, reset, dot_of_none };

  void take_line(std::string_view line);
  // Whether the body's end was found.
  [[nodiscard]] bool take_body();
  void command(Command command, std::string_view line);
  void take_mail(const ReplyLines& reply);
  void take_rcpt(const ReplyLines& reply);
  void take_rcpt_of_none(const ReplyLines& reply);
  void refuse_recipient();
  void take_data(const ReplyLines& reply);
  void take_dot(const ReplyLines& reply);
  void end_transaction();
  void tell_refusal();
  void clean_up();
  void finish_refused();
  void end_message(std::string_view for_engine);
  void mismatch(const ReplyLines& reply);
  void break_off(std::string reason, std::optional<core::Reply> reply = std::nullopt);

  ConversationPort& port_;
  std::string ehlo_;
  Pipelining pipelining_;
  std::string in_;  // of libesmtp, not yet taken
  std::deque<Command> waiting_;
  core::Stage stage_ = core::Stage::mail;
  enum class Input : std::uint8_t { commands, body, nothing } input_ = Input::commands;
  // MAIL was, after libesmtp had been told of a success: for it the recipient is.
  bool mail_refused_ = false;
  // After a refused RCPT: libesmtp goes on to its dot, the relay gets an end of the transaction; both have to
  // come to their end before the next message.
  bool rcpt_refused_ = false;
  // Not told while a command that was pipelined behind is not answered: a relay that has eaten a command
  // answers the next one, and that says nothing about the sender or the recipient.
  std::optional<core::Reply> refusal_;
  bool engine_done_ = false;
  bool relay_done_ = false;
  bool broken_ = false;
};

}  // namespace mailotp::mail
