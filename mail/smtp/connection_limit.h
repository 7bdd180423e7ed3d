// How many connections to one relay are right now: two at first, one more after as many successes as there
// are connections, half after a sign of too many. Pure.
#pragma once

#include <algorithm>

namespace mailotp::mail {

class ConnectionLimit {
 public:
  explicit ConnectionLimit(int most) : most_(std::max(most, 1)), now_(std::min(2, most_)) {}

  [[nodiscard]] int now() const { return now_; }
  void succeeded() {
    if (++successes_ < now_) return;
    successes_ = 0;
    now_ = std::min(now_ + 1, most_);
  }
  void overloaded() {
    successes_ = 0;
    now_ = std::max(now_ / 2, 1);
  }

 private:
  int most_;
  int now_;
  int successes_ = 0;
};

}  // namespace mailotp::mail
