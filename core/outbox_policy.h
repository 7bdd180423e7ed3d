// The delivery policy: what a fact about one attempt means for the message. Pure; the only place that decides
// it (docs/RELIABILITY.md: the policy). core/outbox.cpp asks it, nobody else.
#pragma once

#include <optional>

#include "core/outbox.h"

namespace mailotp::core {

inline constexpr Millis k_last_attempt_margin{5000};  // no repeat is started later than not_after less this …
inline constexpr Millis k_last_plan_margin{
    6000};  // … so none is planned later than this: it is started by then
// In hand at so many deaths of the daemon or the agent in a row: held.
inline constexpr std::uint32_t k_poison_deaths = 3;

// What a final reply about the message asks for.
enum class ReplyMeaning : std::uint8_t {
  retry,       // transient: the retry schedule
  greylist,    // transient, and the same relay must come again after a pause of its own
  session,     // says nothing about the message: the relay's or the connection's trouble
  next_relay,  // this relay will not; another one may, once
  fail,        // permanent for this message: about its recipient
};
// 4yz and 5yz refuse (RFC 5321 section 4.2.1); anything else is a muddle of that session.
[[nodiscard]] constexpr bool is_refusal(const Reply& reply) {
  return reply.code >= 400 && reply.code <= 599;
}
[[nodiscard]] ReplyMeaning meaning_of(Stage stage, const Reply& reply);

// The pause before the next attempt after so many tries, jitter applied.
[[nodiscard]] Millis retry_pause(const DeliveryPolicy& policy, MessageKind kind, std::uint32_t tries,
                                 RandomSource& jitter);
// Greylisting: the hint in the text plus two seconds, else the schedule. No jitter: too early costs a whole
// attempt.
[[nodiscard]] Millis greylist_pause(const DeliveryPolicy& policy, std::uint32_t attempts, const Reply& reply);
// A number of seconds or minutes that the text asks to wait ("try again in 5 seconds", "wait 2 minutes"); at
// most an hour.
[[nodiscard]] std::optional<Millis> greylist_hint(std::string_view text);

// The verdict that a permanent refusal gives.
[[nodiscard]] Verdict refusal_verdict(Stage stage, const Reply& reply, WallTime now);
// The verdict of a message whose greylisting leaves no useful time: `delayed`, at once, so that the app can
// offer another way while we still try.
[[nodiscard]] Verdict greylisted_verdict(const Reply& reply, WallTime now);
// The verdict of a message whose time ended before a relay took it.
[[nodiscard]] Verdict expiry_verdict(const MessageRow& row, WallTime now);
// The verdict of a message that came back unsent after its address was found dead.
[[nodiscard]] Verdict suppressed_verdict(WallTime now);

}  // namespace mailotp::core
