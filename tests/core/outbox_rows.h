// Rows, events and a policy for the tests of the outbox machine.
#pragma once

#include <string>

#include "core/outbox.h"
#include "tests/core/random_sources.h"

namespace mailotp::core::test {

inline constexpr WallTime k_now = from_unix_ms(1'795'176'000'000);
inline constexpr Millis k_life = Seconds{300};
inline constexpr std::uint32_t k_attempt = 3;  // of row_in()

inline AttemptKey in_force() {
  return {Id{}, k_attempt};
}
inline Reply reply(int code, std::string status = "", std::string text = "text") {
  return {code, std::move(status), std::move(text)};
}
inline DeliveryPolicy no_jitter() {
  DeliveryPolicy policy;
  policy.jitter_percent = 0;
  return policy;
}
inline DeliveryPolicy holding() {
  DeliveryPolicy policy = no_jitter();
  policy.uncertain = OnUncertain::hold;
  return policy;
}

// A row as the machine itself leaves it in that state, due now where it waits.
inline MessageRow row_in(MessageState state) {
  MessageRow row;
  row.state = state;
  row.attempt = k_attempt;
  row.attempts = 2;
  row.uncertain = state == MessageState::uncertain ? 1 : 0;
  row.not_after = k_now + k_life;
  row.revision = 7;
  row.relay = "one";
  row.reply = reply(451, "4.3.0", "earlier");
  switch (state) {
    case MessageState::queued:
    case MessageState::held:
      row.due_at = row.not_after;
      break;
    case MessageState::sending:
      row.due_at = k_now - Seconds{1};
      break;
    case MessageState::deferred:
    case MessageState::uncertain:
      row.due_at = k_now;
      break;
    case MessageState::relayed:
    case MessageState::delivered:
    case MessageState::bounced:
    case MessageState::failed:
    case MessageState::expired:
    case MessageState::superseded:
    case MessageState::canceled:
    case MessageState::suppressed:
      row.due_at = k_never;
      break;
  }
  return row;
}

// `uncertain` for good: nothing planned, body gone.
inline MessageRow resting_row() {
  MessageRow row = row_in(MessageState::uncertain);
  row.uncertain = 2;
  row.due_at = k_never;
  return row;
}

inline MessageStep run(const MessageRow& row, const MessageEvent& event, WallTime now = k_now,
                       const DeliveryPolicy& policy = no_jitter(), OtherRelay other = OtherRelay::none) {
  SeededRandom jitter(1);
  return step(row, event, policy, now, jitter, other);
}

}  // namespace mailotp::core::test
