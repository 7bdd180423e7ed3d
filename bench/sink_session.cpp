#include "bench/sink_session.h"

#include <algorithm>
#include <cctype>
#include <utility>

namespace mailotp::bench {
namespace {

constexpr std::string_view k_end = "\r\n";
constexpr std::string_view k_dot = "\r\n.\r\n";
constexpr std::string_view k_capabilities =
    "250-sink.test\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n"
    "250 DSN\r\n";

bool is_command(std::string_view line, std::string_view verb) {
  return line.size() >= verb.size() && std::equal(verb.begin(), verb.end(), line.begin(), [](char a, char b) {
           return a == std::toupper(static_cast<unsigned char>(b));
         });
}

// Between the angle brackets; "" without them.
std::string_view path_of(std::string_view line) {
  const std::size_t open = line.find('<');
  const std::size_t close = line.find('>', open == std::string_view::npos ? line.size() : open);
  return close == std::string_view::npos ? std::string_view{} : line.substr(open + 1, close - open - 1);
}

}  // namespace

SinkSession::Step SinkSession::go_on(std::string& replies) {
  Step step = Step::starved;
  while (step == Step::starved) {
    if (state_ == State::over) {
      step = Step::over;
    } else if (state_ == State::mail) {
      if (!skip_to_the_dot()) break;
      state_ = State::commands;
      taken_ = std::exchange(recipients_, {});
      step = Step::mail;
    } else if (!take_command(replies)) {
      break;
    }
  }
  input_.erase(0, std::exchange(at_, 0));
  return step;
}

// Of a mail that goes on only its last bytes stay: they may be the beginning of the dot's line.
bool SinkSession::skip_to_the_dot() {
  const std::size_t found = input_.find(k_dot, at_);
  if (found == std::string::npos) {
    at_ = std::max(at_, input_.size() - std::min(input_.size(), k_dot.size() - 1));
    return false;
  }
  at_ = found + k_dot.size();
  return true;
}

bool SinkSession::take_command(std::string& replies) {
  const std::size_t end = input_.find(k_end, at_);
  if (end == std::string::npos) return false;
  answer(std::string_view(input_).substr(at_, end - at_), replies);
  // The end of DATA's own line stays: an empty mail is the dot right after it.
  at_ = state_ == State::mail ? end : end + k_end.size();
  return true;
}

void SinkSession::answer(std::string_view line, std::string& replies) {
  if (is_command(line, "RCPT TO:")) {
    recipients_.emplace_back(path_of(line));
    replies += "250 2.1.5 ok\r\n";
  } else if (is_command(line, "MAIL FROM:")) {
    recipients_.clear();
    replies += "250 2.1.0 ok\r\n";
  } else if (is_command(line, "DATA")) {
    if (recipients_.empty()) {
      replies += "503 5.5.1 no recipient\r\n";
    } else {
      state_ = State::mail;
      replies += "354 go on\r\n";
    }
  } else if (is_command(line, "EHLO")) {
    replies += k_capabilities;
  } else if (is_command(line, "HELO")) {
    replies += "250 sink.test\r\n";
  } else if (is_command(line, "RSET") || is_command(line, "NOOP")) {
    if (is_command(line, "RSET")) recipients_.clear();
    replies += "250 2.0.0 ok\r\n";
  } else if (is_command(line, "QUIT")) {
    state_ = State::over;
    replies += "221 2.0.0 bye\r\n";
  } else {
    replies += "502 5.5.1 no such command\r\n";
  }
}

}  // namespace mailotp::bench
