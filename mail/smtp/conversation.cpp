#include "mail/smtp/conversation.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace mailotp::mail {

using core::Stage;

namespace {

constexpr std::string_view k_end_of_body = "\r\n.\r\n";
constexpr std::string_view k_dot = ".\r\n";
// libesmtp's command lines: two addresses' worth, and parameters.
constexpr std::size_t k_command_bytes = 2048;

bool is_positive(const ReplyLines& reply) {
  return reply.code / 100 == 2;
}
bool is_negative(const ReplyLines& reply) {
  return reply.code / 100 == 4 || reply.code / 100 == 5;
}

// How many bytes at the end of `text` might begin `pattern`.
std::size_t overlap(std::string_view text, std::string_view pattern) {
  for (std::size_t length = std::min(text.size(), pattern.size() - 1); length > 0; --length)
    if (text.substr(text.size() - length) == pattern.substr(0, length)) return length;
  return 0;
}

}  // namespace

void Conversation::from_engine(std::string_view bytes) {
  if (broken_) return;
  in_ += bytes;
  while (!broken_) {
    if (input_ == Input::nothing) return;
    if (input_ == Input::body) {
      if (!take_body()) return;
      continue;
    }
    const std::size_t end = in_.find("\r\n");
    if (end == std::string::npos) {
      if (in_.size() > k_command_bytes) break_off("libesmtp: command too long");
      return;
    }
    const std::string line = in_.substr(0, end + 2);
    in_.erase(0, end + 2);
    take_line(line);
  }
}

void Conversation::take_line(std::string_view line) {
  if (line.starts_with("EHLO ")) return port_.to_engine(ehlo_);
  if (line.starts_with("MAIL FROM:")) {
    stage_ = Stage::mail;
    mail_refused_ = rcpt_refused_ = engine_done_ = relay_done_ = false;
    refusal_.reset();
    port_.phase(Stage::mail);
    command(Command::mail, line);
    if (pipelining_ == Pipelining::yes) port_.to_engine("250 ok\r\n");
    return;
  }
  if (line.starts_with("RCPT TO:")) {
    if (waiting_.empty()) {
      stage_ = Stage::rcpt;
      port_.phase(Stage::rcpt);
    }
    return command(Command::rcpt, line);
  }
  if (line == "DATA\r\n") {
    // libesmtp asks even when no recipient was accepted; then its dot comes at once.
    if (rcpt_refused_) return port_.to_engine("354 go\r\n");
    if (waiting_.empty()) {
      stage_ = Stage::data;
      port_.phase(Stage::data);
    }
    return command(Command::data, line);
  }
  if (line == k_dot && rcpt_refused_) {
    engine_done_ = true;
    return finish_refused();
  }
  // QUIT: it has no more messages, and whoever told it so closes the connection.
  if (line == "QUIT\r\n") return;
  break_off("libesmtp: unexpected command");
}

void Conversation::command(Command command, std::string_view line) {
  waiting_.push_back(command);
  port_.to_relay(line);
}

// `in_` starts at the start of a line of the body or inside a CRLF that might end it.
bool Conversation::take_body() {
  const std::size_t end = in_.find(k_end_of_body);
  if (end == std::string::npos) {
    const std::size_t keep = overlap(in_, k_end_of_body);
    const std::string ready = in_.substr(0, in_.size() - keep);
    in_.erase(0, ready.size());
    port_.to_relay(ready);
    return false;
  }
  const std::string rest = in_.substr(0, end + 2);
  input_ = Input::nothing;
  in_.erase(0, end + k_end_of_body.size());
  port_.end_of_body(rest);
  return true;
}

void Conversation::dot_sent() {
  CHECK(input_ == Input::nothing);
  stage_ = Stage::dot;
  input_ = Input::commands;
  waiting_.push_back(Command::dot);
  port_.to_relay(k_dot);
}

void Conversation::from_relay(const ReplyLines& reply) {
  if (broken_) return;
  if (reply.code == 421) relay_closed();
  if (reply.code == 421) return break_off("the relay closes", to_reply(reply));
  if (waiting_.empty()) return break_off("a reply that nobody asked for", to_reply(reply));
  const Command command = waiting_.front();
  waiting_.pop_front();
  switch (command) {
    case Command::mail:
      return take_mail(reply);
    case Command::rcpt:
      return take_rcpt(reply);
    case Command::data:
      return take_data(reply);
    case Command::dot:
      return take_dot(reply);
    case Command::reset:
      if (!is_positive(reply)) return break_off("RSET refused", to_reply(reply));
      return end_transaction();
    case Command::dot_of_none:
      if (!is_positive(reply) && !is_negative(reply)) return mismatch(reply);
      return end_transaction();
  }
}

void Conversation::take_mail(const ReplyLines& reply) {
  const bool positive = is_positive(reply);
  if (!positive && !is_negative(reply)) return mismatch(reply);
  if (positive) stage_ = Stage::rcpt;
  if (pipelining_ == Pipelining::yes) {
    mail_refused_ = !positive;
    if (mail_refused_) refusal_ = to_reply(reply);
    return port_.phase(Stage::rcpt);
  }
  if (positive) return port_.to_engine("250 ok\r\n");
  port_.refused(Stage::mail, to_reply(reply));
  end_message("550 no\r\n");
}

void Conversation::take_rcpt(const ReplyLines& reply) {
  if (mail_refused_) return take_rcpt_of_none(reply);
  if (is_positive(reply)) {
    stage_ = Stage::data;
    if (!waiting_.empty()) port_.phase(Stage::data);
    return port_.to_engine("250 ok\r\n");
  }
  if (!is_negative(reply)) return mismatch(reply);
  refusal_ = to_reply(reply);
  refuse_recipient();
}

void Conversation::take_rcpt_of_none(const ReplyLines& reply) {
  if (is_negative(reply)) return refuse_recipient();
  if (!is_positive(reply)) return mismatch(reply);
  // A transaction that the relay did not begin has a recipient: what it would make of DATA is not to be seen.
  tell_refusal();
  break_off("RCPT taken after a refused MAIL", to_reply(reply));
}

void Conversation::refuse_recipient() {
  rcpt_refused_ = true;
  port_.phase(Stage::data);
  if (waiting_.empty()) {
    tell_refusal();
    clean_up();
  }
  port_.to_engine("550 no\r\n");
}

void Conversation::take_data(const ReplyLines& reply) {
  if (rcpt_refused_) {
    // DATA was on its way when RCPT was refused. A 354 wants a dot (RFC 2920 section 3.1).
    if (reply.code == 354) {
      tell_refusal();
      command(Command::dot_of_none, k_dot);
    } else if (is_negative(reply)) {
      tell_refusal();
      clean_up();
    } else {
      return mismatch(reply);
    }
    return port_.to_engine("354 go\r\n");
  }
  if (reply.code == 354) {
    stage_ = Stage::body;
    input_ = Input::body;
    port_.phase(Stage::body);
    return port_.to_engine("354 go\r\n");
  }
  if (!is_negative(reply)) return mismatch(reply);
  // No recipient is to blame any more: something is wrong with this session.
  port_.refused(Stage::data, to_reply(reply));
  break_off("DATA refused after an accepted recipient");
}

void Conversation::take_dot(const ReplyLines& reply) {
  if (!is_positive(reply) && !is_negative(reply)) return mismatch(reply);
  if (is_positive(reply)) {
    port_.relayed(to_reply(reply));
  } else {
    port_.refused(Stage::dot, to_reply(reply));
  }
  // Whatever it was, the transaction is over and needs no RSET: libesmtp is told of a success.
  end_message("250 ok\r\n");
}

void Conversation::relay_closed() {
  if (!broken_) tell_refusal();
}

void Conversation::tell_refusal() {
  if (refusal_)
    port_.refused(mail_refused_ ? Stage::mail : Stage::rcpt, *std::exchange(refusal_, std::nullopt));
}

void Conversation::clean_up() {
  command(Command::reset, "RSET\r\n");
}

void Conversation::end_transaction() {
  relay_done_ = true;
  finish_refused();
}

void Conversation::finish_refused() {
  if (!engine_done_ || !relay_done_) return;
  rcpt_refused_ = false;
  end_message("250 ok\r\n");
}

void Conversation::end_message(std::string_view for_engine) {
  stage_ = Stage::mail;
  port_.to_engine(for_engine);
  port_.idle();
}

void Conversation::mismatch(const ReplyLines& reply) {
  break_off("a reply that does not fit its command", to_reply(reply));
}

void Conversation::break_off(std::string reason, std::optional<core::Reply> reply) {
  if (std::exchange(broken_, true)) return;
  port_.broken(stage_, std::move(reason), std::move(reply));
}

}  // namespace mailotp::mail
