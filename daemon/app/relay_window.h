// How many jobs a relay may hold at once. Two a connection are enough where the relay is the slow part: one
// on the wire, one behind it. A relay that is faster than the commits in which it gets its work would then
// idle through every commit: the window grows while mails wait, the relay has run dry, and as many jobs in a
// row as it holds were taken at once; it shrinks again as soon as jobs stay long. What is out when the daemon
// is killed may have been sent or not: the window is also how many mails that can leave uncertain.
#pragma once

#include <algorithm>
#include <chrono>
#include <utility>

namespace mailotp::daemon {

class RelayWindow {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // connections >= 1: the most that the relay is given.
  explicit RelayWindow(int connections = 1) : connections_(connections), places_(least()) {}

  [[nodiscard]] int places() const { return places_; }
  [[nodiscard]] int out() const { return out_; }
  // A commit has claimed for it, and more mails wait: the places that are new.
  [[nodiscard]] int claimed_with_more_waiting() {
    if (out_ > connections_ || quick_ < places_) return 0;
    quick_ = 0;
    const int before = std::exchange(places_, std::min(2 * places_, most()));
    return places_ - before;
  }
  void handed_out() { ++out_; }
  // A job has ended that was handed out at `since`, taken by the relay or not: the places that are free, none
  // or one.
  [[nodiscard]] int ended(bool taken, Time since, Time now) {
    --out_;
    quick_ = taken && now - since <= k_quick ? quick_ + 1 : 0;
    if (now - since <= k_long || places_ <= least()) return 1;
    --places_;
    return 0;
  }

 private:
  static constexpr std::chrono::milliseconds k_quick{20};
  static constexpr std::chrono::milliseconds k_long{50};
  static constexpr int k_least_a_connection = 2;
  static constexpr int k_most_a_connection = 8;

  [[nodiscard]] int least() const { return connections_ * k_least_a_connection; }
  [[nodiscard]] int most() const { return connections_ * k_most_a_connection; }

  int connections_;
  int places_;
  int out_ = 0;
  int quick_ = 0;  // jobs in a row that ended soon, since it has grown
};

}  // namespace mailotp::daemon
