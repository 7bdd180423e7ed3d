// The challenge machine on random walks: what must hold whatever happens in whatever order.
#include <vector>

#include <catch2/catch.hpp>
#include <rapidcheck.h>

#include "core/challenge.h"

namespace mailotp::core {
namespace {

using Event = ChallengeEvent;
using Outcome = ChallengeOutcome;
using Effect = ChallengeEffect;

constexpr WallTime k_start = from_unix_ms(1'795'176'000'000);

// One thing that the store does: an event, or a guess with what its comparison gave.
struct Deed {
  Event event;
  Event comparison;
  Millis pause;
};

rc::Gen<Deed> any_deed() {
  // Guesses and sends more often than ends, so that walks are long.
  const auto event = rc::gen::weightedElement<Event>({{6, Event::send},
                                                      {8, Event::guess},
                                                      {1, Event::matched},
                                                      {1, Event::differed},
                                                      {1, Event::binding_differed},
                                                      {1, Event::cancel},
                                                      {3, Event::tick},
                                                      {3, Event::message_changed}});
  const auto comparison = rc::gen::weightedElement<Event>(
      {{1, Event::matched}, {8, Event::differed}, {3, Event::binding_differed}});
  const auto pause = rc::gen::map(rc::gen::inRange(0, 60'000), [](int ms) { return Millis{ms}; });
  return rc::gen::construct<Deed>(event, comparison, pause);
}

ChallengeRow any_row() {
  ChallengeRow row;
  row.attempts_left = *rc::gen::inRange(1, 21);
  row.max_sends = *rc::gen::inRange(1, 21);
  row.cooldown = Seconds{*rc::gen::element(0, 1, 30, 3600)};
  row.usable_minimum = Seconds{*rc::gen::element(0, 30, 60)};
  row.expires_at = k_start + Seconds{*rc::gen::element(30, 600, 86400)};
  row.resend_at = k_start;
  return row;
}

void check_step(const ChallengeRow& before, const ChallengeStep& got) {
  const ChallengeRow& after = got.row;
  if (!is_open(before.state)) {
    RC_ASSERT(after.state == before.state);
    RC_ASSERT(got.effects == Effect::none);
  }
  RC_ASSERT(after.attempts_left <= before.attempts_left);
  RC_ASSERT(after.attempts_left >= 0);
  RC_ASSERT(after.sends >= before.sends);
  RC_ASSERT(after.sends <= after.max_sends);
  RC_ASSERT(after.expires_at == before.expires_at);
  RC_ASSERT(after.revision >= before.revision);
  if (after.state != before.state) RC_ASSERT(after.revision == before.revision + 1);
  // Secrets go when it ends, once, and unsent mail with them.
  const bool ends = is_open(before.state) && !is_open(after.state);
  RC_ASSERT(has(got.effects, Effect::erase_secrets) == ends);
  RC_ASSERT(has(got.effects, Effect::end_unsent) == ends);
  RC_ASSERT(has(got.effects, Effect::queue_message) == (after.sends == before.sends + 1));
  if (has(got.effects, Effect::supersede_unsent)) RC_ASSERT(before.sends > 0);
  if (got.outcome == Outcome::unchanged) RC_ASSERT(after == before);
}

TEST_CASE("a challenge on random walks") {
  CHECK(rc::check("challenge", [] {
    const ChallengeRow first = any_row();
    const auto deeds = *rc::gen::container<std::vector<Deed>>(any_deed());
    ChallengeRow row = first;
    WallTime now = k_start, last_send = k_start - std::chrono::hours{2};
    int compared = 0, mails = 0, valid = 0;
    for (const Deed& deed : deeds) {
      now += deed.pause;
      // The store never steps with a comparison that no counted guess came before.
      const bool comparison_alone = deed.event == Event::matched || deed.event == Event::differed ||
                                    deed.event == Event::binding_differed;
      if (comparison_alone && is_open(row.state)) continue;
      ChallengeStep got = step(row, deed.event, now);
      check_step(row, got);
      if (has(got.effects, Effect::queue_message)) {
        ++mails;
        RC_ASSERT(now - last_send >= row.cooldown || mails == 1);
        RC_ASSERT(row.expires_at - now >= row.usable_minimum);
        last_send = now;
      }
      if (got.outcome == Outcome::counted) {
        ++compared;
        const ChallengeRow counted = got.row;
        got = step(counted, deed.comparison, now);
        check_step(counted, got);
        RC_ASSERT(got.row.attempts_left == row.attempts_left - 1);
        RC_ASSERT(got.row.revision == row.revision + 1);
        valid += got.outcome == Outcome::valid ? 1 : 0;
      }
      if (now >= row.expires_at) RC_ASSERT(!is_open(got.row.state));
      row = got.row;
    }
    RC_ASSERT(compared <= first.attempts_left);
    RC_ASSERT(compared + row.attempts_left == first.attempts_left);
    RC_ASSERT(mails == row.sends);
    RC_ASSERT(valid <= 1);
    RC_ASSERT((valid == 1) == (row.state == ChallengeState::otp_valid));
    RC_ASSERT(row.expires_at == first.expires_at);
  }));
}

TEST_CASE("guessing without end compares at most max_attempts codes, resends or not") {
  for (int attempts = 1; attempts <= 20; ++attempts) {
    ChallengeRow row;
    row.attempts_left = attempts;
    row.max_sends = 20;
    row.expires_at = k_start + std::chrono::hours{24};
    row.resend_at = k_start;
    row = step(row, Event::send, k_start).row;
    int compared = 0;
    for (int i = 0; i < 100; ++i) {
      row = step(row, Event::send, k_start).row;
      const ChallengeStep got = step(row, Event::guess, k_start);
      row = got.row;
      if (got.outcome != Outcome::counted) continue;
      ++compared;
      row = step(row, Event::differed, k_start).row;
    }
    CHECK(compared == attempts);
    CHECK(row.state == ChallengeState::otp_exhausted);
  }
}

}  // namespace
}  // namespace mailotp::core
