#include "bench/load_work.h"

#include <fmt/format.h>

namespace mailotp::bench {
namespace {

// One in a million is right; an alphabet with letters never has it.
constexpr std::string_view k_wrong_code = R"("code":"000000")";

std::string post(std::string_view path, std::string_view body) {
  return fmt::format(
      "POST {} HTTP/1.1\r\nHost: mailotpd\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
      path, body.size(), body);
}

std::string check_request(const std::string& path, const std::string& client) {
  return post(path + "/check", fmt::format("{{{}{}}}", k_wrong_code, client));
}

std::string take_last(std::vector<std::string>& from) {
  std::string last = std::move(from.back());
  from.pop_back();
  return last;
}

}  // namespace

std::string_view to_string(Kind kind) {
  switch (kind) {
    case Kind::create:
      return "create";
    case Kind::check:
      return "check";
    case Kind::read:
      return "read";
  }
  return "";
}

bool is_acknowledged(Kind kind, int status) {
  return status == (kind == Kind::create ? 201 : 200);
}

std::optional<Request> Work::next() {
  switch (mode_) {
    case Mode::send:
      return create();
    case Mode::check:
      if (checks_left_ == 0) return std::nullopt;
      return check();
    case Mode::mixed:
      if (!to_read_.empty()) return read();
      if (!to_check_.empty()) return check();
      return create();
  }
  return std::nullopt;
}

Request Work::create() {
  const std::uint64_t recipient = next_recipient_++;
  const std::string body = fmt::format(R"({{"recipient":"u{}@example.test"{}}})", recipient, client_member());
  return {Kind::create, post("/v1/challenges", body), recipient};
}

// With the comma before it; "" without clients.
std::string Work::client_member() {
  if (clients_ == 0) return {};
  const std::uint64_t number = next_client_;
  next_client_ = (next_client_ + 1) % clients_;
  return fmt::format(R"(,"client":{{"ip":"10.{}.{}.{}"}})", number >> 16 & 0xff, number >> 8 & 0xff,
                     number & 0xff);
}

Request Work::check() {
  if (mode_ == Mode::mixed) {
    const std::string path = take_last(to_check_);
    to_read_.push_back(path);
    return {Kind::check, check_request(path, client_member())};
  }
  // In turns, so that the checks of one challenge lie far apart.
  do {
    turn_ = (turn_ + 1) % challenges_.size();
  } while (challenges_[turn_].checks_left == 0);
  --challenges_[turn_].checks_left;
  --checks_left_;
  return {Kind::check, check_request(challenges_[turn_].path, client_member())};
}

Request Work::read() {
  const std::string path = take_last(to_read_);
  return {Kind::read, fmt::format("GET {} HTTP/1.1\r\nHost: mailotpd\r\n\r\n", path)};
}

void Work::answered(Kind kind, const Answer& answer) {
  if (kind != Kind::create || answer.status != 201 || answer.location.empty()) return;
  if (mode_ == Mode::check) {
    challenges_.push_back({answer.location, k_checks_each});
    checks_left_ += k_checks_each;
  } else if (mode_ == Mode::mixed) {
    to_check_.push_back(answer.location);
  }
}

}  // namespace mailotp::bench
