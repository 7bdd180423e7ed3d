// One SMTP conversation of the sink, without sockets: bytes in, replies out. It takes every mail and keeps
// nothing of it but the recipients.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mailotp::bench {

class SinkSession {
 public:
  static constexpr std::string_view k_greeting = "220 sink.test ESMTP\r\n";
  static constexpr std::string_view k_taken = "250 2.0.0 taken\r\n";

  // `starved`: go on after more input. `mail`: the final dot has come; the caller writes k_taken when it
  // likes, and goes on only then. `over`: QUIT, and its reply is the last one.
  enum class Step { starved, mail, over };

  void add(std::string_view bytes) { input_ += bytes; }
  // Up to the next end of a mail, of the input, or of the session. Appends to `replies`, which are to be
  // written before k_taken.
  [[nodiscard]] Step go_on(std::string& replies);
  // Of the mail that go_on() has returned last.
  [[nodiscard]] const std::vector<std::string>& recipients() const { return taken_; }

 private:
  [[nodiscard]] bool skip_to_the_dot();
  [[nodiscard]] bool take_command(std::string& replies);
  void answer(std::string_view line, std::string& replies);

  enum class State { commands, mail, over };
  State state_ = State::commands;
  std::string input_;
  std::size_t at_ = 0;  // what is before it has been taken
  std::vector<std::string> recipients_;
  std::vector<std::string> taken_;
};

}  // namespace mailotp::bench
