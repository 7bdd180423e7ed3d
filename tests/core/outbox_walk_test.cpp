// The outbox machine on random walks: what must hold whatever happens in whatever order.
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <rapidcheck.h>

#include "core/outbox.h"
#include "core/outbox_policy.h"
#include "tests/core/outbox_rows.h"

namespace mailotp::core {
namespace {

using test::k_now;
using test::reply;

using State = MessageState;

// A kind of event, a number that picks its details, and the time that passes before it.
struct Deed {
  std::size_t alternative;
  int detail;
  Millis pause;
};

rc::Gen<Deed> any_deed() {
  // Claims, dues and facts more often than ends and operators, so that walks are long.
  const auto alternative = rc::gen::weightedElement<std::size_t>(
      {{20, 0}, {2, 1},  {1, 2},  {6, 3},  {6, 4},  {4, 5},  {3, 6},  {5, 7},  {20, 8}, {1, 9}, {1, 10},
       {2, 11}, {3, 12}, {3, 13}, {1, 14}, {1, 15}, {1, 16}, {1, 17}, {2, 18}, {2, 19}, {1, 20}});
  const auto detail = rc::gen::inRange(0, 1000);
  // Now and then a long time passes.
  const auto pause =
      rc::gen::map(rc::gen::inRange(0, 20'000), [](int ms) { return Millis{ms % 50 == 0 ? ms * 20 : ms}; });
  return rc::gen::construct<Deed>(alternative, detail, pause);
}

Reply any_refusal(int detail) {
  static const std::vector<Reply> replies{
      reply(450),          reply(451, "4.7.1"), reply(550, "5.1.1"),
      reply(421),          reply(552),          reply(554),
      reply(354),          reply(250),          reply(451, "", "wait 5 s"),
      reply(452, "4.2.2"), reply(530),          reply(0)};
  return replies[static_cast<std::size_t>(detail) % replies.size()];
}

MessageEvent event_of(const Deed& deed, const MessageRow& row) {
  // One fact in eight is of another attempt.
  const AttemptKey key{Id{}, deed.detail % 8 == 0 ? row.attempt + 1 : row.attempt};
  const auto stage = static_cast<Stage>(deed.detail % k_stages);
  switch (deed.alternative) {
    case 0:
      return Claim{"one"};
    case 1:
      return JobDotNext{key};
    case 2:
      return JobRelayed{key, reply(250)};
    case 3:
      return JobRefused{key, stage, any_refusal(deed.detail)};
    case 4:
      return JobNotSent{key, stage, "trouble", {}};
    case 5:
      return JobUncertain{key, "cut"};
    case 6:
      return AgentLost{.dot_possible = deed.detail % 2 == 0};
    case 7:
      return Orphaned{};
    case 8:
      return Due{};
    case 9:
      return Supersede{};
    case 10:
      return EndWithChallenge{.expired = deed.detail % 2 == 0};
    case 11:
      return Hold{};
    case 12:
      return Release{};
    case 13:
      return Retry{};
    case 14:
      return Cancel{};
    case 15:
      return SuccessDsn{};
    case 16:
      return FailureDsn{Verdict{}};
    case 18:
      return NoRelay{};
    case 19:
      return RelayBack{};
    case 20:
      return Suppress{};
    default:
      return DelayDsn{Verdict{}};
  }
}

// Whether a fact or a loss may have left a copy with a relay.
bool is_uncertainty(const MessageEvent& event) {
  if (std::holds_alternative<JobUncertain>(event) || std::holds_alternative<Orphaned>(event)) return true;
  if (const auto* lost = std::get_if<AgentLost>(&event)) return lost->dot_possible;
  if (const auto* refused = std::get_if<JobRefused>(&event))
    return refused->stage == Stage::dot && !is_refusal(refused->reply);
  return false;
}

void check_lifecycle(const MessageRow& before, const MessageStep& got) {
  const MessageRow& after = got.row;
  if (got.refusal != MessageRefusal::none) RC_ASSERT(!got.changed);
  if (!got.changed) RC_ASSERT(after == before);
  RC_ASSERT(after.kind == before.kind);
  RC_ASSERT(after.revision >= before.revision);
  RC_ASSERT(after.not_after <= before.not_after);
  // The body goes exactly when the message ends, whichever way.
  RC_ASSERT(got.erase_content == (!is_over(before) && is_over(after)));
  if (got.erase_content) RC_ASSERT(after.revision == before.revision + 1);
  if (is_over(before)) {
    RC_ASSERT(is_over(after));
    const bool news = before.state == State::relayed || before.state == State::uncertain;
    const bool behind_a_gateway = before.state == State::delivered && after.state == State::bounced;
    const bool late = before.state == State::uncertain && after.state == State::relayed;
    if (after.state != before.state)
      RC_ASSERT((news && (after.state == State::delivered || after.state == State::bounced)) ||
                behind_a_gateway || late);
  }
  RC_ASSERT(after.state != State::expired || after.verdict.has_value());
  RC_ASSERT(after.state != State::failed || after.verdict.has_value());
  // Only what certainly has not left ends as not sent.
  if (after.state == State::expired || after.state == State::superseded || after.state == State::canceled ||
      after.state == State::suppressed)
    RC_ASSERT(after.uncertain == 0U);
}

void check_attempts(const MessageRow& before, const MessageEvent& event, const MessageStep& got,
                    WallTime now) {
  const MessageRow& after = got.row;
  const bool claimed = before.state == State::queued && after.state == State::sending;
  RC_ASSERT(after.attempt == before.attempt + (claimed ? 1 : 0));
  // In the agent's hands it stays there, whatever happens around it, until a fact or a loss ends that.
  const bool from_outside =
      std::holds_alternative<Supersede>(event) || std::holds_alternative<Suppress>(event) ||
      std::holds_alternative<Cancel>(event) || std::holds_alternative<EndWithChallenge>(event);
  RC_ASSERT((after.state == State::sending) ==
            (claimed || (before.state == State::sending && (!got.changed || from_outside))));
  if (claimed) {
    RC_ASSERT(std::holds_alternative<Claim>(event));
    RC_ASSERT(now < before.not_after);
  }
  RC_ASSERT(after.attempts >= before.attempts);
  RC_ASSERT(after.attempts <= after.attempt);
  RC_ASSERT(after.attempts - before.attempts <= 1U);
  const bool uncertainty = got.changed && before.state == State::sending && is_uncertainty(event);
  RC_ASSERT(after.uncertain == before.uncertain + (uncertainty ? 1 : 0));
}

void check_plan(const MessageRow& before, const MessageStep& got, WallTime now) {
  const MessageRow& after = got.row;
  if (!got.changed) return;
  if (after.state == State::queued || after.state == State::held) RC_ASSERT(after.due_at == after.not_after);
  if (after.state == State::queued) RC_ASSERT(now < after.not_after);
  if (after.state == State::deferred) RC_ASSERT(after.due_at <= after.not_after - k_last_plan_margin);
  if (after.state == State::deferred) RC_ASSERT(after.due_at > now);
  // A round of relays ends with every pause, and what comes back from outside ends nothing else.
  if (after.state == State::deferred || after.state == State::uncertain) RC_ASSERT(after.tried.empty());
  if (after.state != State::sending) RC_ASSERT(!after.ends_as);
  if (after.state == State::uncertain && !is_over(after)) {
    RC_ASSERT(after.due_at <= after.not_after);
    RC_ASSERT(after.due_at >= now);
    const bool repeats = after.due_at < after.not_after;
    if (repeats) RC_ASSERT(after.due_at <= after.not_after - k_last_plan_margin);
    // A repeat by itself after the first uncertainty or after a restart, never otherwise.
    if (repeats) RC_ASSERT(after.uncertain == 1U || after.orphaned > before.orphaned);
    RC_ASSERT(after.orphaned < k_poison_deaths);
  }
}

TEST_CASE("a message on random walks") {
  CHECK(rc::check("outbox", [] {
    const auto deeds = *rc::gen::container<std::vector<Deed>>(any_deed());
    DeliveryPolicy policy;
    policy.uncertain = *rc::gen::element(OnUncertain::resend, OnUncertain::resend, OnUncertain::hold);
    test::SeededRandom jitter(*rc::gen::arbitrary<std::uint64_t>());
    MessageRow row;
    row.not_after = k_now + Seconds{*rc::gen::element(3, 30, 540, 86400)};
    row.due_at = row.not_after;
    WallTime now = k_now;
    std::uint32_t copies = 0;
    bool stopped = false;
    for (const Deed& deed : deeds) {
      now += deed.pause;
      const MessageEvent event = event_of(deed, row);
      const auto other = deed.detail % 3 == 0 ? OtherRelay::usable : OtherRelay::none;
      const MessageStep got = step(row, event, policy, now, jitter, other);
      check_lifecycle(row, got);
      check_attempts(row, event, got, now);
      check_plan(row, got, now);
      // What was ended from outside is never handed out again.
      if (stopped) RC_ASSERT(got.row.attempt == row.attempt);
      if (!is_over(row) &&
          (std::holds_alternative<Supersede>(event) || std::holds_alternative<Cancel>(event) ||
           std::holds_alternative<Suppress>(event) || std::holds_alternative<EndWithChallenge>(event)))
        stopped = true;
      // Every copy that a relay may have is visible: duplicates never exceed the uncertainties.
      if (got.changed && row.state == State::sending &&
          (got.row.state == State::relayed || is_uncertainty(event)))
        ++copies;
      row = got.row;
      RC_ASSERT(copies <= row.uncertain + 1);
      if (copies > 0)
        RC_ASSERT(row.uncertain > 0 || row.state == State::relayed || row.state == State::delivered ||
                  row.state == State::bounced);
    }
  }));
}

// Nothing is kept alive, and nothing is lost: left to time alone, with a fact for every claim, every message
// ends.
TEST_CASE("every message ends by its deadline when time passes and jobs are answered") {
  CHECK(rc::check("ends", [] {
    const auto deeds = *rc::gen::container<std::vector<Deed>>(any_deed());
    const DeliveryPolicy policy;
    test::SeededRandom jitter(1);
    MessageRow row;
    row.not_after = k_now + Seconds{540};
    row.due_at = row.not_after;
    WallTime now = k_now;
    for (const Deed& deed : deeds) {
      now += deed.pause;
      row = step(row, event_of(deed, row), policy, now, jitter).row;
    }
    int claims = 0;
    for (int rounds = 0; !is_over(row); ++rounds) {
      RC_ASSERT(rounds < 3000);
      now = std::max(now, std::min(row.due_at, row.not_after));
      if (row.state == State::queued) {
        row = step(row, Claim{"one"}, policy, now, jitter).row;
        ++claims;
      } else if (row.state == State::sending) {
        row = step(row, JobNotSent{{Id{}, row.attempt}, Stage::connect, "refused", {}}, policy, now, jitter)
                  .row;
      } else {
        row = step(row, Due{}, policy, now, jitter).row;
      }
    }
    RC_ASSERT(claims <= 700);
  }));
}

}  // namespace
}  // namespace mailotp::core
