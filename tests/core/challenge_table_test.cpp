// The challenge machine as a table: every state, every event, before and after its time is up.
#include <array>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "core/challenge.h"

namespace mailotp::core {
namespace {

using State = ChallengeState;
using Event = ChallengeEvent;
using Outcome = ChallengeOutcome;
using Effect = ChallengeEffect;

constexpr WallTime k_now = from_unix_ms(1'795'176'000'000);
constexpr Effect k_end = Effect::end_unsent | Effect::erase_secrets;
constexpr Effect k_resend = Effect::queue_message | Effect::supersede_unsent;

ChallengeRow row_in(State state) {
  ChallengeRow row;
  row.state = state;
  row.attempts_left = 3;
  row.sends = state == State::started ? 0 : 1;
  row.max_sends = 3;
  row.cooldown = Seconds{30};
  row.usable_minimum = Seconds{60};
  row.expires_at = k_now + Seconds{300};
  row.resend_at = k_now;
  row.revision = 7;
  return row;
}

struct Cell {
  State state;
  Outcome outcome;
  Effect effects;
};
using Line = std::array<Cell, k_challenge_events>;

// Columns: send, guess, matched, differed, binding_differed, cancel, tick, message_changed.
const std::array<Line, k_challenge_states> k_in_time{{
    // started
    {{{State::otp_sent, Outcome::sent, Effect::queue_message},
      {State::started, Outcome::not_sent_yet, Effect::none},
      {State::started, Outcome::not_sent_yet, Effect::none},
      {State::started, Outcome::not_sent_yet, Effect::none},
      {State::started, Outcome::not_sent_yet, Effect::none},
      {State::canceled, Outcome::canceled, k_end},
      {State::started, Outcome::unchanged, Effect::none},
      {State::started, Outcome::noted, Effect::none}}},
    // otp_sent
    {{{State::otp_sent, Outcome::resent, k_resend},
      {State::otp_sent, Outcome::counted, Effect::none},
      {State::otp_valid, Outcome::valid, k_end},
      {State::otp_invalid, Outcome::invalid, Effect::none},
      {State::otp_invalid, Outcome::binding_mismatch, Effect::none},
      {State::canceled, Outcome::canceled, k_end},
      {State::otp_sent, Outcome::unchanged, Effect::none},
      {State::otp_sent, Outcome::noted, Effect::none}}},
    // otp_invalid
    {{{State::otp_sent, Outcome::resent, k_resend},
      {State::otp_invalid, Outcome::counted, Effect::none},
      {State::otp_valid, Outcome::valid, k_end},
      {State::otp_invalid, Outcome::invalid, Effect::none},
      {State::otp_invalid, Outcome::binding_mismatch, Effect::none},
      {State::canceled, Outcome::canceled, k_end},
      {State::otp_invalid, Outcome::unchanged, Effect::none},
      {State::otp_invalid, Outcome::noted, Effect::none}}},
    // otp_valid
    {{{State::otp_valid, Outcome::closed, Effect::none},
      {State::otp_valid, Outcome::already_used, Effect::none},
      {State::otp_valid, Outcome::unchanged, Effect::none},
      {State::otp_valid, Outcome::unchanged, Effect::none},
      {State::otp_valid, Outcome::unchanged, Effect::none},
      {State::otp_valid, Outcome::closed, Effect::none},
      {State::otp_valid, Outcome::unchanged, Effect::none},
      {State::otp_valid, Outcome::noted, Effect::none}}},
    // otp_exhausted
    {{{State::otp_exhausted, Outcome::closed, Effect::none},
      {State::otp_exhausted, Outcome::exhausted, Effect::none},
      {State::otp_exhausted, Outcome::unchanged, Effect::none},
      {State::otp_exhausted, Outcome::unchanged, Effect::none},
      {State::otp_exhausted, Outcome::unchanged, Effect::none},
      {State::otp_exhausted, Outcome::closed, Effect::none},
      {State::otp_exhausted, Outcome::unchanged, Effect::none},
      {State::otp_exhausted, Outcome::noted, Effect::none}}},
    // expired
    {{{State::expired, Outcome::closed, Effect::none},
      {State::expired, Outcome::expired, Effect::none},
      {State::expired, Outcome::unchanged, Effect::none},
      {State::expired, Outcome::unchanged, Effect::none},
      {State::expired, Outcome::unchanged, Effect::none},
      {State::expired, Outcome::closed, Effect::none},
      {State::expired, Outcome::unchanged, Effect::none},
      {State::expired, Outcome::noted, Effect::none}}},
    // canceled
    {{{State::canceled, Outcome::closed, Effect::none},
      {State::canceled, Outcome::canceled, Effect::none},
      {State::canceled, Outcome::unchanged, Effect::none},
      {State::canceled, Outcome::unchanged, Effect::none},
      {State::canceled, Outcome::unchanged, Effect::none},
      {State::canceled, Outcome::canceled, Effect::none},
      {State::canceled, Outcome::unchanged, Effect::none},
      {State::canceled, Outcome::noted, Effect::none}}},
}};

// What no event may touch, and the revision, which moves with what an app can see.
void check_cell(const ChallengeRow& row, Event event, WallTime now, const Cell& expected) {
  CAPTURE(to_string(row.state), to_string(event), to_unix_ms(now));
  const ChallengeStep got = step(row, event, now);
  CHECK(to_string(got.row.state) == to_string(expected.state));
  CHECK(static_cast<int>(got.outcome) == static_cast<int>(expected.outcome));
  CHECK(static_cast<int>(got.effects) == static_cast<int>(expected.effects));

  CHECK(got.row.expires_at == row.expires_at);
  CHECK(got.row.max_sends == row.max_sends);
  CHECK(got.row.cooldown == row.cooldown);
  CHECK(got.row.usable_minimum == row.usable_minimum);
  CHECK(got.row.attempts_left == row.attempts_left - (got.outcome == Outcome::counted ? 1 : 0));
  const bool sends = has(got.effects, Effect::queue_message);
  CHECK(got.row.sends == row.sends + (sends ? 1 : 0));
  CHECK(got.row.resend_at == (sends ? now + row.cooldown : row.resend_at));
  const bool visible = sends || got.row.state != row.state || got.outcome == Outcome::noted ||
                       got.outcome == Outcome::invalid || got.outcome == Outcome::binding_mismatch;
  CHECK(got.row.revision == row.revision + (visible ? 1 : 0));
  if (!visible && got.outcome != Outcome::counted) CHECK(got.row == row);
}

TEST_CASE("every state and event of a challenge that has time left") {
  for (std::size_t s = 0; s < k_in_time.size(); ++s) {
    for (std::size_t e = 0; e < k_challenge_events; ++e)
      check_cell(row_in(static_cast<State>(s)), static_cast<Event>(e), k_now, k_in_time[s][e]);
  }
}

TEST_CASE("an open challenge whose time is up expires first, whatever the event; an ended one stays") {
  for (const Millis late : {Millis{0}, Millis{1}, Millis{1'000'000'000}}) {
    for (std::size_t s = 0; s < k_in_time.size(); ++s) {
      for (std::size_t e = 0; e < k_challenge_events; ++e) {
        const ChallengeRow row = row_in(static_cast<State>(s));
        const Cell expected =
            is_open(row.state) ? Cell{State::expired, Outcome::expired, k_end} : k_in_time[s][e];
        check_cell(row, static_cast<Event>(e), row.expires_at + late, expected);
      }
    }
  }
}

TEST_CASE("the last millisecond of a challenge still takes the right code") {
  const ChallengeRow row = row_in(State::otp_sent);
  const ChallengeStep counted = step(row, Event::guess, row.expires_at - Millis{1});
  REQUIRE(counted.outcome == Outcome::counted);
  CHECK(step(counted.row, Event::matched, row.expires_at - Millis{1}).outcome == Outcome::valid);
}

TEST_CASE("the last attempt: a right code is valid, a wrong one answers invalid and exhausts") {
  for (const State state : {State::otp_sent, State::otp_invalid}) {
    CAPTURE(to_string(state));
    ChallengeRow row = row_in(state);
    row.attempts_left = 1;
    const ChallengeStep counted = step(row, Event::guess, k_now);
    REQUIRE(counted.outcome == Outcome::counted);
    CHECK(counted.row.attempts_left == 0);
    check_cell(counted.row, Event::matched, k_now, {State::otp_valid, Outcome::valid, k_end});
    check_cell(counted.row, Event::differed, k_now, {State::otp_exhausted, Outcome::invalid, k_end});
    check_cell(counted.row, Event::binding_differed, k_now,
               {State::otp_exhausted, Outcome::binding_mismatch, k_end});
    const ChallengeRow ended = step(counted.row, Event::differed, k_now).row;
    check_cell(ended, Event::guess, k_now, {State::otp_exhausted, Outcome::exhausted, Effect::none});
  }
}

TEST_CASE("an open challenge without attempts ends at a guess, and nothing is compared") {
  for (const State state : {State::otp_sent, State::otp_invalid}) {
    ChallengeRow row = row_in(state);
    row.attempts_left = 0;
    check_cell(row, Event::guess, k_now, {State::otp_exhausted, Outcome::exhausted, k_end});
  }
}

TEST_CASE("sends: cooldown, number, usable minimum, and which refusal comes first") {
  struct Row {
    Millis until_resend, life;
    int sends;
    Outcome outcome;
  };
  const Millis minute = Seconds{60};
  for (const Row& r : std::vector<Row>{
           {Millis{0}, 5 * minute, 1, Outcome::resent},
           {Millis{-1}, 5 * minute, 2, Outcome::resent},
           {Millis{1}, 5 * minute, 1, Outcome::cooldown},
           {Millis{0}, 5 * minute, 3, Outcome::sends_exhausted},
           {Millis{0}, 5 * minute, 4, Outcome::sends_exhausted},
           {Millis{1}, 5 * minute, 3, Outcome::sends_exhausted},
           {Millis{0}, minute, 1, Outcome::resent},
           {Millis{0}, minute - Millis{1}, 1, Outcome::closed},
           {Millis{1}, minute - Millis{1}, 3, Outcome::closed},
           {Millis{0}, Millis{1}, 1, Outcome::closed},
       }) {
    for (const State state : {State::otp_sent, State::otp_invalid}) {
      CAPTURE(r.until_resend.count(), r.life.count(), r.sends);
      ChallengeRow row = row_in(state);
      row.resend_at = k_now + r.until_resend;
      row.expires_at = k_now + r.life;
      row.sends = r.sends;
      check_cell(row, Event::send, k_now,
                 r.outcome == Outcome::resent ? Cell{State::otp_sent, r.outcome, k_resend}
                                              : Cell{state, r.outcome, Effect::none});
    }
  }
}

TEST_CASE("a first send obeys the same bounds") {
  ChallengeRow row = row_in(State::started);
  row.expires_at = k_now + row.usable_minimum - Millis{1};
  check_cell(row, Event::send, k_now, {State::started, Outcome::closed, Effect::none});
  row = row_in(State::started);
  row.max_sends = 0;
  check_cell(row, Event::send, k_now, {State::started, Outcome::sends_exhausted, Effect::none});
}

TEST_CASE("a resend never refills attempts and never extends life") {
  ChallengeRow row = row_in(State::otp_invalid);
  row.attempts_left = 1;
  const ChallengeStep got = step(row, Event::send, k_now);
  REQUIRE(got.outcome == Outcome::resent);
  CHECK(got.row.attempts_left == 1);
  CHECK(got.row.expires_at == row.expires_at);
}

TEST_CASE("effects combine and can be asked for one by one") {
  CHECK(has(k_resend, Effect::queue_message));
  CHECK(has(k_resend, Effect::supersede_unsent));
  CHECK_FALSE(has(k_resend, Effect::erase_secrets));
  CHECK_FALSE(has(Effect::none, Effect::end_unsent));
}

}  // namespace
}  // namespace mailotp::core
