// What the load generator asks for: a source of requests, and a book of their answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/load_connection.h"

namespace mailotp::bench {

enum class Mode { send, check, mixed };
enum class Kind { create, check, read };
[[nodiscard]] std::string_view to_string(Kind kind);

struct Request {
  Kind kind = Kind::create;
  std::string bytes;
  std::uint64_t recipient = 0;  // of a create, the N of u<N>@example.test
};

// A right answer: 201 to a create, 200 to the others.
[[nodiscard]] bool is_acknowledged(Kind kind, int status);

// Makes challenges for u<N>@example.test, N counted up from `first`; each is checked with a wrong code at
// most k_checks_each times, so that none is exhausted (five attempts by default). `mixed` makes one
// challenge, checks it once, reads it once. With `clients`, creates and checks come from so many addresses of
// 10.0.0.0/8 in turns.
class Work {
 public:
  Work(Mode mode, std::uint64_t first, std::uint64_t clients)
      : mode_(mode), next_recipient_(first), clients_(clients) {}

  // nullopt: nothing is left, which only `check` can reach: every challenge has been used up.
  [[nodiscard]] std::optional<Request> next();
  [[nodiscard]] Request create();
  void answered(Kind kind, const Answer& answer);
  [[nodiscard]] std::size_t checks_left() const { return checks_left_; }

  static constexpr std::size_t k_checks_each = 4;

 private:
  struct Challenge {
    std::string path;
    std::size_t checks_left;
  };

  [[nodiscard]] Request check();
  [[nodiscard]] Request read();
  [[nodiscard]] std::string client_member();

  Mode mode_;
  std::uint64_t next_recipient_;
  std::uint64_t clients_;
  std::uint64_t next_client_ = 0;
  std::vector<Challenge> challenges_;
  std::size_t turn_ = 0;
  std::size_t checks_left_ = 0;
  std::vector<std::string> to_check_;  // mixed
  std::vector<std::string> to_read_;   // mixed
};

}  // namespace mailotp::bench
