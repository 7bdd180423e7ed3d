// Keys that are added and retired while the daemon runs.
#include <memory>

#include <catch2/catch.hpp>

#include "core/store_rules.h"
#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using namespace std::chrono_literals;
using core::CheckResult;

namespace {

core::TakeOver keys(const StoreFixture& f, const std::string& letters) {
  core::TakeOver command;
  command.at = f.now;
  command.source = "otp.key";
  for (const char letter : letters)
    command.keys.emplace_back(std::string(32, letter));
  return command;
}

std::string id_of(const StoreFixture& f, std::size_t which) {
  return reader_of(f)->keys()->at(which).id;
}

}  // namespace

TEST_CASE("a new first key writes from then on, and what the old one wrote still works") {
  StoreFixture f;
  const core::ChallengeView old = f.created();
  const std::string old_code = f.last_code;
  f.done(keys(f, "nk"));
  const core::ChallengeView fresh = f.created("bob@example.org");
  const std::string fresh_code = f.last_code;
  Database db(f.database_path());
  CHECK(db.value("SELECT count(DISTINCT key) FROM challenge") == "2");
  f.now += 30s;
  (void)f.challenge_answer(f.send_command(old.id));  // opens what was sealed
  CHECK(f.check_answer(f.check_command(old.id, old_code)).result == CheckResult::valid);
  CHECK(f.check_answer(f.check_command(fresh.id, fresh_code)).result == CheckResult::valid);
}

TEST_CASE("keys that lack one which rows need are refused, and nothing changes") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  const std::string code = f.last_code;
  std::vector<core::Command> batch;
  batch.emplace_back(f.create_command("bob@example.org"));
  batch.emplace_back(keys(f, "n"));
  const core::Committed done = f.commit(std::move(batch));
  CHECK(done.outcomes[0]);
  REQUIRE(done.outcomes[1]);
  CHECK_FALSE(done.error);
  const auto& refused = std::get<core::Refusal>(*done.outcomes[1]);
  CHECK(refused.kind == core::RefusalKind::keys_missing);
  CHECK(refused.detail.find("otp.key") != std::string::npos);
  CHECK(f.check_answer(f.check_command(made.id, code)).result == CheckResult::valid);
  CHECK(reader_of(f)->keys()->size() == 1);
}

TEST_CASE("an old key is needed while something may need it, and then said not to be") {
  StoreFixture f;
  REQUIRE(f.store->recover(f.now));
  const core::ChallengeView made = f.created();
  const std::string first = id_of(f, 0);
  f.now += 1s;
  f.done(keys(f, "nk"));
  const auto uses = [&] { return *reader_of(f)->keys(); };
  REQUIRE(uses().size() == 2);
  CHECK_FALSE(uses()[0].retired_at);
  CHECK(is_needed(uses()[0], f.now));
  CHECK(uses()[1].id == first);
  CHECK(uses()[1].retired_at == f.now);
  CHECK(uses()[1].challenges);
  CHECK(uses()[1].messages);
  (void)f.challenge_answer(f.cancel_command(made.id));
  CHECK_FALSE(uses()[1].challenges);
  CHECK_FALSE(uses()[1].messages);
  CHECK(is_needed(uses()[1], f.now + 20 * 24h - 1s));  // bounces of what was sent before
  CHECK_FALSE(is_needed(uses()[1], f.now + 20 * 24h));
  // It comes back into use.
  f.done(keys(f, "kn"));
  CHECK_FALSE(uses()[0].retired_at);
  CHECK(uses()[0].id == first);
}

TEST_CASE("what the limits counted is kept with the newest key only") {
  StoreFixture f;
  f.limits.common.recipient_sends = {{1, 3600s}};
  f.close();
  f.open();
  REQUIRE(f.store->recover(f.now));
  const core::ChallengeView made = f.created();
  (void)f.challenge_answer(f.cancel_command(made.id));
  f.done(keys(f, "nk"));
  CHECK(f.refusal(f.create_command()).kind == core::RefusalKind::rate_limited);
  f.done(keys(f, "n"));
  CHECK(f.refusal(f.create_command()).kind == core::RefusalKind::rate_limited);
  f.done(keys(f, "m"));  // all at once, as after a theft
  CHECK(f.refusal(f.create_command()).kind == core::RefusalKind::rate_limited);
  f.close();
  // All keys are lost at once: then the limits begin anew, and the operator is told.
  f.open(key_ring({'z'}));
  const auto recovered = f.store->recover(f.now);
  REQUIRE(recovered);
  CHECK(recovered->limits_anew);
  (void)f.created();
}

TEST_CASE("rules are taken over with the keys, or neither") {
  StoreFixture f;
  REQUIRE(f.store->recover(f.now));
  (void)f.created();
  const auto limited = [&f](std::int64_t max) {
    auto rules = std::make_shared<core::StoreRules>();
    rules->policy = f.policy;
    rules->return_path = "other@example.org";
    rules->limits.common.recipient_sends = {{max, 3600s}};
    rules->composer = std::shared_ptr<const core::Composer>(std::shared_ptr<void>{}, &f.composer);
    return rules;
  };
  SECTION("both, from this commit on") {
    core::TakeOver order = keys(f, "nk");
    order.rules = limited(1);
    f.done(std::move(order));
    (void)f.created("bob@example.org");
    CHECK(f.refusal(f.create_command("bob@example.org")).limit->max == 1);
    // Keys alone leave the rules as they are.
    f.done(keys(f, "nk"));
    CHECK(f.refusal(f.create_command("bob@example.org")).limit->max == 1);
  }
  SECTION("a key is missing") {
    std::vector<core::Command> batch;
    core::TakeOver order = keys(f, "n");
    order.rules = limited(1);
    batch.emplace_back(std::move(order));
    const core::Committed done = f.commit(std::move(batch));
    REQUIRE(done.outcomes[0]);
    CHECK(std::get<core::Refusal>(*done.outcomes[0]).kind == core::RefusalKind::keys_missing);
    (void)f.created("bob@example.org");
    (void)f.created("bob@example.org");
  }
}

}  // namespace mailotp::store::test
