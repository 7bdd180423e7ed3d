// The circuit breaker of one relay (docs/RELIABILITY.md: the policy). Pure; times are of a monotonic clock,
// in milliseconds. It counts sessions, not messages: a relay that answers a message with a refusal works.
//
//                 a failure, and one of the two limits is reached
//      closed ──────────────────────────────────────────────────────► open
//        ▲                                                            │  ▲
//        │ a good session, here too                 its time is up, or│  │ the probe failed:
//        │                              no relay can be used: a second│  │ twice as long
//        └──────────────────── half_open ◄────────────────────────────┘  │
//                              one connection without a message ─────────┘
//
// A closed one whose last session failed is doubtful: messages prefer another relay, so it is probed each
// second to learn soon which way it goes.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/delivery.h"
#include "core/random.h"
#include "core/relay_choice.h"
#include "core/time.h"

namespace mailotp::core {

enum class BreakerState : std::uint8_t { closed, open, half_open };
[[nodiscard]] std::string_view to_string(BreakerState state);

struct BreakerPolicy {
  int failures_in_row = 3;
  int window = 20;          // sessions; at most 32
  int window_failures = 5;  // at least so many of the window, and half of it
  Millis first{2'000};
  Millis most{60'000};
  Millis refused{60'000};  // AUTH was refused, or its certificate is no good
  Millis probe{1'000};     // of a doubtful relay; of an open one when no relay can be used
  int jitter_percent = 20;
  bool operator==(const BreakerPolicy&) const = default;
};

class Breaker {
 public:
  explicit Breaker(BreakerPolicy policy = {}) : policy_(policy) {}

  void succeeded();
  // A connection could not be opened, or the relay ended it.
  void failed(RelayTrouble trouble, Millis now, RandomSource& jitter);
  // What was wrong may have been put right (another password, the operator's resume): closed, nothing
  // counted.
  void reset();
  // From the next failure on.
  void set_policy(const BreakerPolicy& policy) { policy_ = policy; }

  // When a probe should be sent; absent: not now, or one is under way. `alone`: no relay can be used.
  [[nodiscard]] std::optional<Millis> probe_at(bool alone) const;
  // A probe is sent. Its end is told by succeeded(), failed() or probe_lost(); an open breaker is half open
  // until then.
  void probing();
  // The probe ended without a word about the relay: our own process died.
  void probe_lost(Millis now);

  [[nodiscard]] BreakerState state() const { return state_; }
  [[nodiscard]] RelayUse use() const;

 private:
  void open(RelayTrouble trouble, Millis now, RandomSource& jitter);

  BreakerPolicy policy_;
  BreakerState state_ = BreakerState::closed;
  int in_row_ = 0;
  std::uint32_t window_ = 0;  // a bit a session, the newest is the lowest; set: it failed
  int sessions_ = 0;          // in the window
  Millis pause_{0};           // of the last opening
  Millis last_failure_{0};
  Millis open_until_{0};
  bool refused_ = false;  // opened because AUTH was refused: asking each second would lock the account
  bool probing_ = false;
};

}  // namespace mailotp::core
