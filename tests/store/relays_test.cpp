// Claims with several relays: who gets what, and what is passed over.
#include <catch2/catch.hpp>

#include "core/outbox_policy.h"
#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using core::MessageState;
using core::RelayUse;
using core::Stage;

namespace {

core::RelayOffer relay(std::string name, int jobs, int priority = 10, RelayUse use = RelayUse::clean) {
  core::RelayOffer out;
  out.name = std::move(name);
  out.jobs = jobs;
  out.priority = priority;
  out.use = use;
  return out;
}

core::Committed commit(StoreFixture& f, std::vector<core::RelayOffer> relays,
                       std::vector<core::Command> batch = {}) {
  core::ClaimBudget budget;
  budget.relays = std::move(relays);
  f.last = f.store->commit(batch, budget, f.now);
  for (const core::Outcome& outcome : f.last.outcomes)
    REQUIRE(outcome);
  core::Committed out;
  out.jobs = std::move(f.last.jobs);
  out.next_due = f.last.next_due;
  out.more_queued = f.last.more_queued;
  out.claim_again = f.last.claim_again;
  return out;
}

std::vector<core::Command> one(core::Command command) {
  std::vector<core::Command> batch;
  batch.push_back(std::move(command));
  return batch;
}

std::string relays_of(const std::vector<core::Job>& jobs) {
  std::string out;
  for (const core::Job& job : jobs)
    out += job.relay;
  return out;
}

}  // namespace

TEST_CASE("equal relays share a claim by turns, each within its places") {
  StoreFixture f;
  for (int i = 0; i < 6; ++i)
    (void)f.created("user" + std::to_string(i) + "@example.org");
  const auto out = commit(f, {relay("a", 4), relay("b", 1), relay("z", 9, 20)});
  CHECK(relays_of(out.jobs) == "abaaa");
  CHECK(out.more_queued);
  CHECK_FALSE(out.claim_again);  // nothing more could be handed out
}

TEST_CASE("a session's fault moves a message to the next relay in the same commit") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  auto out = commit(f, {relay("a", 1, 1), relay("b", 1, 2)});
  REQUIRE(relays_of(out.jobs) == "a");
  const core::JobNotSent refused{out.jobs[0].key, Stage::connect, "refused", {}};
  out = commit(f, {relay("a", 1, 1), relay("b", 1, 2)}, one(f.fact(refused)));
  REQUIRE(relays_of(out.jobs) == "b");
  CHECK(out.jobs[0].key.attempt == 2);
  // The second one cannot be reached either: a pause, and then both may be asked.
  const core::JobNotSent too{out.jobs[0].key, Stage::connect, "refused", {}};
  out = commit(f, {relay("a", 1, 1), relay("b", 1, 2)}, one(f.fact(too)));
  CHECK(out.jobs.empty());
  CHECK(f.message_view(made.message->id).state == MessageState::deferred);
  CHECK(f.message_view(made.message->id).attempts == 0);
  out = commit(f, {relay("a", 1, 1), relay("b", 1, 2)}, one(core::WakeForRelay{f.now}));
  CHECK(relays_of(out.jobs) == "a");
}

TEST_CASE("a relay that is back wakes all that wait for it, in steps of bounded size") {
  StoreFixture f;
  for (int i = 0; i < 5; ++i)
    (void)f.created("user" + std::to_string(i) + "@example.org");
  const auto out = commit(f, {relay("a", 5, 1)});
  REQUIRE(out.jobs.size() == 5);
  std::vector<core::Command> batch;
  for (const core::Job& job : out.jobs)
    batch.emplace_back(f.fact(core::JobNotSent{job.key, Stage::connect, "refused", {}}));
  (void)commit(f, {relay("a", 0, 1)}, std::move(batch));
  REQUIRE(f.stats().messages.at("deferred") == 5);
  const auto step = [&](core::Command command) {
    auto done = commit(f, {relay("a", 0, 1)}, one(std::move(command)));
    const auto queued = f.stats().messages;
    return std::pair(queued.at("queued"), done.next_due && *done.next_due <= f.now);
  };
  CHECK(step(core::WakeForRelay{f.now, 2}) == std::pair<std::int64_t, bool>(2, true));
  CHECK(step(core::Sweep{f.now, 2}) == std::pair<std::int64_t, bool>(4, true));
  CHECK(step(core::Sweep{f.now, 2}) == std::pair<std::int64_t, bool>(5, false));
}

TEST_CASE("with no relay to be used messages stay queued as they are") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  const Database db(f.database_path());
  const auto out = commit(f, {relay("a", 5, 1, RelayUse::no)});
  CHECK(out.jobs.empty());
  CHECK(out.more_queued);
  CHECK(f.message_view(made.message->id).state == MessageState::queued);
}

TEST_CASE("a message that refused relays are left for fails with the refusal, and hides it until then") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  auto out = commit(f, {relay("a", 1, 1), relay("b", 0, 2)});
  const core::JobRefused no{out.jobs[0].key, Stage::mail, {550, "5.7.1", "not you"}};
  out = commit(f, {relay("a", 1, 1), relay("b", 0, 2)}, one(f.fact(no)));
  // b may take it but has no place: it waits, and nobody is told of a refusal that may not count.
  CHECK(out.jobs.empty());
  core::MessageView seen = f.message_view(made.message->id);
  CHECK(seen.state == MessageState::queued);
  CHECK_FALSE(seen.verdict);
  out = commit(f, {relay("a", 1, 1), relay("b", 0, 2, RelayUse::no)}, one(core::Sweep{f.now}));
  CHECK(out.jobs.empty());
  seen = f.message_view(made.message->id);
  CHECK(seen.state == MessageState::failed);
  REQUIRE(seen.verdict);
  CHECK(seen.verdict->detail == "not you");
}

TEST_CASE("a message without a place does not stop those behind it") {
  StoreFixture f;
  const core::ChallengeView first = f.created("first@example.org");
  auto out = commit(f, {relay("a", 1, 1), relay("b", 1, 2)});
  const core::JobNotSent refused{out.jobs[0].key, Stage::connect, "refused", {}};
  f.now += core::Seconds{1};  // so that its deadline is the earlier one
  const core::ChallengeView second = f.created("second@example.org");
  // The first may go to b only, which is full.
  out = commit(f, {relay("a", 1, 1), relay("b", 0, 2)}, one(f.fact(refused)));
  REQUIRE(out.jobs.size() == 1);
  CHECK(out.jobs[0].key.message == second.message->id);
  CHECK(f.message_view(first.message->id).state == MessageState::queued);
}

TEST_CASE("what was in hand at two deaths goes out alone among its like") {
  StoreFixture f;
  std::vector<core::Id> ids;
  for (int i = 0; i < 3; ++i)
    ids.push_back(f.created("user" + std::to_string(i) + "@example.org").message->id);
  for (int death = 0; death < 2; ++death) {
    std::vector<core::Command> lost;
    if (death == 1) f.now += core::Seconds{5};
    std::vector<core::Command> due;
    due.emplace_back(core::Sweep{f.now});
    const auto out = commit(f, {relay("a", 9)}, std::move(due));
    REQUIRE(out.jobs.size() == 3);
    for (const core::Job& job : out.jobs)
      lost.emplace_back(core::SettleLost{f.now, job.key, false});
    (void)commit(f, {relay("a", 0)}, std::move(lost));
  }
  f.now += core::Seconds{60};
  const core::Id fresh = f.created("fresh@example.org").message->id;
  std::vector<core::Command> due;
  due.emplace_back(core::Sweep{f.now});
  auto out = commit(f, {relay("a", 9)}, std::move(due));
  REQUIRE(out.jobs.size() == 2);  // one of the three, and the fresh one
  CHECK((out.jobs[0].key.message == fresh) != (out.jobs[1].key.message == fresh));
  const core::Job& suspect = out.jobs[0].key.message == fresh ? out.jobs[1] : out.jobs[0];
  SECTION("it was innocent: the next one") {
    out = commit(f, {relay("a", 9)}, one(f.fact(core::JobRelayed{suspect.key, {250, "", "ok"}})));
    CHECK(out.jobs.size() == 1);
  }
  SECTION("a third death: it is held, and the others go on") {
    const core::Id guilty = suspect.key.message;
    out = commit(f, {relay("a", 9)}, one(core::SettleLost{f.now, suspect.key, false}));
    CHECK(f.message_view(guilty).state == MessageState::held);
    CHECK(out.jobs.size() == 1);
  }
}

TEST_CASE("a rate is counted with the hand-over, survives a restart and frees its places in time") {
  StoreFixture f;
  for (int i = 0; i < 5; ++i)
    (void)f.created("user" + std::to_string(i) + "@example.org");
  core::RelayOffer limited = relay("a", 9);
  limited.rate = core::Rate{2, core::Seconds{10}};
  auto out = commit(f, {limited});
  CHECK(out.jobs.size() == 2);
  f.close();
  f.open();
  out = commit(f, {limited});
  CHECK(out.jobs.empty());
  REQUIRE(out.next_due);
  CHECK(*out.next_due > f.now + core::Seconds{9});
  CHECK(*out.next_due <= f.now + core::Millis{10'400});
  const core::WallTime before = f.now;
  f.now = *out.next_due - core::Millis{1};
  CHECK(commit(f, {limited}).jobs.empty());
  f.now = before + core::Millis{10'400};
  CHECK(commit(f, {limited}).jobs.size() == 2);
}

TEST_CASE("of a rate and a quota the narrower one counts") {
  StoreFixture f;
  for (int i = 0; i < 9; ++i)
    (void)f.created("user" + std::to_string(i) + "@example.org");
  core::RelayOffer limited = relay("a", 9);
  limited.rate = core::Rate{2, core::Seconds{1}};
  limited.quota = core::Rate{3, core::Seconds{86'400}};
  CHECK(commit(f, {limited, relay("b", 1, 20)}).jobs.size() == 2);
  f.now += core::Seconds{2};
  CHECK(relays_of(commit(f, {limited, relay("b", 1, 20)}).jobs) == "a");
  f.now += core::Seconds{2};
  // Used up: the next relay, as if it were out of order.
  CHECK(relays_of(commit(f, {limited, relay("b", 1, 20)}).jobs) == "b");
}

TEST_CASE(
    "a message that one relay has refused waits a moment for the rate of the other, but not for its quota") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  core::RelayOffer other = relay("b", 1, 2);
  const bool moment = GENERATE(true, false);
  other.rate = core::Rate{1, moment ? core::Seconds{2} : core::Seconds{3600}};
  auto out = commit(f, {relay("a", 1, 1), other});
  const core::JobRefused no{out.jobs[0].key, Stage::mail, {550, "5.7.1", "not you"}};
  // Another one has used the rate up.
  (void)f.created("another@example.org");
  REQUIRE(relays_of(commit(f, {other}).jobs) == "b");
  out = commit(f, {relay("a", 1, 1), other}, one(f.fact(no)));
  CHECK(out.jobs.empty());
  CHECK(f.message_view(made.message->id).state == (moment ? MessageState::queued : MessageState::failed));
  if (!moment) return;
  f.now += core::Seconds{3};
  CHECK(relays_of(commit(f, {relay("a", 1, 1), other}).jobs) == "b");
}

TEST_CASE("messages that no relay has a place for do not keep the store busy") {
  StoreFixture f;
  std::vector<core::Command> batch;
  for (int i = 0; i < 600; ++i)
    batch.emplace_back(f.create_command("user" + std::to_string(i) + "@example.org"));
  auto out = commit(f, {}, std::move(batch));
  for (int round = 0; round < 2; ++round) {
    // All of them have been tried at a, and b is full.
    out = commit(f, {relay("a", 600, 1), relay("b", 0, 2)});
    std::vector<core::Command> facts;
    for (const core::Job& job : out.jobs)
      facts.emplace_back(f.fact(core::JobNotSent{job.key, Stage::connect, "refused", {}}));
    if (round == 0) REQUIRE(facts.size() == 600);
    out = commit(f, {relay("a", 1, 1), relay("b", 0, 2)}, std::move(facts));
    CHECK(out.jobs.empty());
    CHECK(out.more_queued);
    CHECK_FALSE(out.claim_again);
  }
}

TEST_CASE("a suspended relay is still suspended after a restart") {
  StoreFixture f;
  f.done(core::SuspendRelay{f.now, "a", true, {}});
  f.done(core::SuspendRelay{f.now, "b", true, {}});
  f.done(core::SuspendRelay{f.now, "b", false, {}});
  f.close();
  f.open();
  const auto recovered = f.store->recover(f.now);
  REQUIRE(recovered);
  CHECK(recovered->suspended == std::vector<std::string>{"a"});
}

}  // namespace mailotp::store::test
