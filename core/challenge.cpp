#include "core/challenge.h"

#include <array>

namespace mailotp::core {

namespace {

constexpr std::array<std::string_view, k_challenge_states> k_state_names{
    "started", "otp_sent", "otp_invalid", "otp_valid", "otp_exhausted", "expired", "canceled"};
constexpr std::array<std::string_view, k_challenge_events> k_event_names{
    "send", "guess", "matched", "differed", "binding_differed", "cancel", "tick", "message_changed"};

ChallengeStep unchanged(const ChallengeRow& row, ChallengeOutcome outcome) {
  return {row, outcome, ChallengeEffect::none};
}

ChallengeStep moved(ChallengeRow row, ChallengeState to, ChallengeOutcome outcome,
                    ChallengeEffect effects = ChallengeEffect::none) {
  row.state = to;
  ++row.revision;
  return {row, outcome, effects};
}

ChallengeStep ended(const ChallengeRow& row, ChallengeState to, ChallengeOutcome outcome) {
  return moved(row, to, outcome, ChallengeEffect::end_unsent | ChallengeEffect::erase_secrets);
}

// What a challenge that has ended answers to a guess.
ChallengeOutcome answer_of_ended(ChallengeState state) {
  switch (state) {
    case ChallengeState::otp_valid:
      return ChallengeOutcome::already_used;
    case ChallengeState::otp_exhausted:
      return ChallengeOutcome::exhausted;
    case ChallengeState::expired:
      return ChallengeOutcome::expired;
    case ChallengeState::canceled:
      return ChallengeOutcome::canceled;
    case ChallengeState::started:
    case ChallengeState::otp_sent:
    case ChallengeState::otp_invalid:
      break;
  }
  return ChallengeOutcome::unchanged;
}

ChallengeStep send(const ChallengeRow& row, WallTime now) {
  // A mail that would arrive with next to no time left helps nobody; a new challenge does.
  if (row.expires_at - now < row.usable_minimum) return unchanged(row, ChallengeOutcome::closed);
  if (row.sends >= row.max_sends) return unchanged(row, ChallengeOutcome::sends_exhausted);
  if (now < row.resend_at) return unchanged(row, ChallengeOutcome::cooldown);
  ChallengeRow next = row;
  ++next.sends;
  next.resend_at = now + row.cooldown;
  if (row.state == ChallengeState::started)
    return moved(next, ChallengeState::otp_sent, ChallengeOutcome::sent, ChallengeEffect::queue_message);
  return moved(next, ChallengeState::otp_sent, ChallengeOutcome::resent,
               ChallengeEffect::queue_message | ChallengeEffect::supersede_unsent);
}

ChallengeStep guess(const ChallengeRow& row) {
  if (row.state == ChallengeState::started) return unchanged(row, ChallengeOutcome::not_sent_yet);
  if (row.attempts_left <= 0) return ended(row, ChallengeState::otp_exhausted, ChallengeOutcome::exhausted);
  ChallengeRow next = row;
  --next.attempts_left;
  return {next, ChallengeOutcome::counted, ChallengeEffect::none};
}

// After a counted guess that was wrong.
ChallengeStep wrong(const ChallengeRow& row, ChallengeOutcome outcome) {
  if (row.state == ChallengeState::started) return unchanged(row, ChallengeOutcome::not_sent_yet);
  if (row.attempts_left > 0) return moved(row, ChallengeState::otp_invalid, outcome);
  return ended(row, ChallengeState::otp_exhausted, outcome);
}

}  // namespace

std::string_view to_string(ChallengeState state) {
  return k_state_names[static_cast<std::size_t>(state)];
}

std::string_view to_string(ChallengeEvent event) {
  return k_event_names[static_cast<std::size_t>(event)];
}

Result<ChallengeState> parse_challenge_state(std::string_view name) {
  for (std::size_t i = 0; i < k_state_names.size(); ++i) {
    if (name == k_state_names[i]) return static_cast<ChallengeState>(i);
  }
  return fail(Errc::invalid, "no such challenge state");
}

ChallengeStep step(const ChallengeRow& row, ChallengeEvent event, WallTime now) {
  if (!is_open(row.state)) {
    switch (event) {
      case ChallengeEvent::guess:
        return unchanged(row, answer_of_ended(row.state));
      case ChallengeEvent::send:
        return unchanged(row, ChallengeOutcome::closed);
      case ChallengeEvent::cancel:
        return unchanged(row, row.state == ChallengeState::canceled ? ChallengeOutcome::canceled
                                                                    : ChallengeOutcome::closed);
      case ChallengeEvent::message_changed:
        return moved(row, row.state, ChallengeOutcome::noted);
      case ChallengeEvent::matched:
      case ChallengeEvent::differed:
      case ChallengeEvent::binding_differed:
      case ChallengeEvent::tick:
        return unchanged(row, ChallengeOutcome::unchanged);
    }
  }
  if (now >= row.expires_at) return ended(row, ChallengeState::expired, ChallengeOutcome::expired);
  switch (event) {
    case ChallengeEvent::send:
      return send(row, now);
    case ChallengeEvent::guess:
      return guess(row);
    case ChallengeEvent::matched:
      if (row.state == ChallengeState::started) return unchanged(row, ChallengeOutcome::not_sent_yet);
      return ended(row, ChallengeState::otp_valid, ChallengeOutcome::valid);
    case ChallengeEvent::differed:
      return wrong(row, ChallengeOutcome::invalid);
    case ChallengeEvent::binding_differed:
      return wrong(row, ChallengeOutcome::binding_mismatch);
    case ChallengeEvent::cancel:
      return ended(row, ChallengeState::canceled, ChallengeOutcome::canceled);
    case ChallengeEvent::message_changed:
      return moved(row, row.state, ChallengeOutcome::noted);
    case ChallengeEvent::tick:
      return unchanged(row, ChallengeOutcome::unchanged);
  }
  return unchanged(row, ChallengeOutcome::unchanged);
}

}  // namespace mailotp::core
