// The challenge: one code asked for and awaited. A pure machine; the store runs it inside its transaction.
//
//   create ─► started ──send──► otp_sent ──wrong──► otp_invalid ──send──► otp_sent
//                                  │  └───right──► otp_valid (end) ◄──right── otp_invalid
//                                  └──send──► otp_sent        otp_invalid, otp_sent ──last attempt──►
//                                  otp_exhausted (end)
//   any open state ──► expired (end) when its time is up · canceled (end) by the app
#pragma once

#include <cstdint>
#include <string_view>

#include "core/result.h"
#include "core/time.h"

namespace mailotp::core {

// The numbers are stored: never renumber.
enum class ChallengeState : std::uint8_t {
  started = 0,
  otp_sent = 1,
  otp_invalid = 2,
  otp_valid = 3,
  otp_exhausted = 4,
  expired = 5,
  canceled = 6,
};
inline constexpr int k_challenge_states = 7;

[[nodiscard]] std::string_view to_string(ChallengeState state);
[[nodiscard]] Result<ChallengeState> parse_challenge_state(std::string_view name);
[[nodiscard]] constexpr bool is_open(ChallengeState s) {
  return s == ChallengeState::started || s == ChallengeState::otp_sent || s == ChallengeState::otp_invalid;
}

// What the machine decides on; the store keeps more beside it.
struct ChallengeRow {
  ChallengeState state = ChallengeState::started;
  int attempts_left = 0;
  int sends = 0;  // mails asked for so far
  int max_sends = 0;
  Millis cooldown{0};        // between two sends
  Millis usable_minimum{0};  // with less life left than this, nothing more is sent
  WallTime expires_at;
  WallTime resend_at;          // no send before this
  std::uint64_t revision = 0;  // +1 with every visible change, by this machine or by its message
  bool operator==(const ChallengeRow&) const = default;
};

enum class ChallengeEvent : std::uint8_t {
  send,              // the app asks for a mail (the first or another one)
  guess,             // a code was typed: count the attempt, before anything is compared
  matched,           // … and it was the right one
  differed,          // … and it was a wrong one
  binding_differed,  // … and the binding did not agree; the code was not compared
  cancel,            // by the app
  tick,              // time has passed
  message_changed,   // the current message has news: state, reply or verdict
};
inline constexpr int k_challenge_events = 8;
[[nodiscard]] std::string_view to_string(ChallengeEvent event);

enum class ChallengeOutcome : std::uint8_t {
  unchanged,  // the event means nothing in this state; nothing is to be saved
  sent,       // first send
  resent,
  counted,  // the attempt was counted: compare now, then step again with matched, differed or
            // binding_differed
  valid,
  invalid,
  binding_mismatch,
  not_sent_yet,  // a guess at a challenge in `started`: answers `invalid`, counts nothing
  exhausted,
  expired,
  already_used,
  canceled,
  cooldown,         // refused: too early for another send
  sends_exhausted,  // refused: max_sends reached
  closed,           // refused: the challenge has ended
  noted,            // message_changed: only the revision moved
};

// What else the same transaction must do.
enum class ChallengeEffect : std::uint8_t {
  none = 0,
  queue_message = 1 << 0,     // a new message becomes the current one
  supersede_unsent = 1 << 1,  // older messages that have not left end as `superseded`
  end_unsent = 1 << 2,     // messages that have not left end: `expired` if the challenge did, else `canceled`
  erase_secrets = 1 << 3,  // code hash, kept code, data
};
[[nodiscard]] constexpr ChallengeEffect operator|(ChallengeEffect a, ChallengeEffect b) {
  return static_cast<ChallengeEffect>(static_cast<std::uint8_t>(a) | static_cast<std::uint8_t>(b));
}
[[nodiscard]] constexpr bool has(ChallengeEffect set, ChallengeEffect one) {
  return (static_cast<std::uint8_t>(set) & static_cast<std::uint8_t>(one)) != 0;
}

struct ChallengeStep {
  ChallengeRow row;
  ChallengeOutcome outcome = ChallengeOutcome::unchanged;
  ChallengeEffect effects = ChallengeEffect::none;
};

// Total: every (state, event) pair has an answer. An open challenge whose time is up expires first, whatever
// the event; the outcome is then `expired` (for `guess`, `send` as well), with the effects of expiry.
// `matched`, `differed` and `binding_differed` follow a `counted` in the same transaction; anywhere else they
// are `unchanged`-safe.
[[nodiscard]] ChallengeStep step(const ChallengeRow& row, ChallengeEvent event, WallTime now);

}  // namespace mailotp::core
