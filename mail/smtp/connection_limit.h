// How many connections to one relay are right now: two at first, one more after as many successes as there
// are connections, half after a sign of too many. Each such sign makes it wait twice as long before it asks
// for more: a relay that takes two connections is not asked for a third one with every mail. Pure.
#pragma once

#include <algorithm>

namespace mailotp::mail {

class ConnectionLimit {
 public:
  explicit ConnectionLimit(int most) : most_(std::max(most, 1)), now_(std::min(k_first, most_)) {}

  [[nodiscard]] int now() const { return now_; }
  void succeeded() {
    if (++successes_ < now_ * patience_) return;
    successes_ = 0;
    now_ = std::min(now_ + 1, most_);
  }
  void overloaded() {
    successes_ = 0;
    patience_ = std::min(2 * patience_, k_most_patience);
    now_ = std::max(now_ / 2, 1);
  }
  // It cannot be reached: when it is back it is not met by all at once.
  void lost() {
    successes_ = 0;
    now_ = std::min(now_, k_first);
  }

 private:
  static constexpr int k_first = 2;
  static constexpr int k_most_patience = 64;

  int most_;
  int now_;
  int successes_ = 0;
  int patience_ = 1;
};

}  // namespace mailotp::mail
