// What a batch as a whole promises.
#include <catch2/catch.hpp>

#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using namespace std::chrono_literals;
using core::Errc;

TEST_CASE("outcomes come in the order of the commands, and later ones see earlier ones") {
  StoreFixture f;
  core::CreateChallenge create = f.create_command();
  const core::Id id = create.id;
  std::vector<core::Command> batch;
  batch.emplace_back(f.check_command(id, f.last_code));
  batch.emplace_back(std::move(create));
  batch.emplace_back(f.check_command(id, f.last_code));
  const core::Committed out = f.commit(std::move(batch));
  CHECK(std::holds_alternative<core::Refusal>(*out.outcomes[0]));
  CHECK(std::holds_alternative<core::ChallengeAnswer>(*out.outcomes[1]));
  CHECK(std::get<core::CheckAnswer>(*out.outcomes[2]).result == core::CheckResult::valid);
}

TEST_CASE("of a batch only the command that fails fails, and it writes nothing") {
  StoreFixture f;
  const core::ChallengeView taken = f.created("taken@example.org");
  core::CreateChallenge bad = f.create_command("bad@example.org");
  bad.id = taken.id;  // its row cannot be inserted
  core::CreateChallenge first = f.create_command("first@example.org");
  core::CreateChallenge last = f.create_command("last@example.org");
  const core::Id ids[] = {first.id, last.id};
  std::vector<core::Command> batch;
  batch.emplace_back(std::move(first));
  batch.emplace_back(std::move(bad));
  batch.emplace_back(std::move(last));
  batch.emplace_back(f.cancel_command(taken.id));
  const core::Committed out = f.commit(std::move(batch), 10);
  CHECK(out.outcomes[0]);
  REQUIRE_FALSE(out.outcomes[1]);
  CHECK(out.outcomes[1].error().code == Errc::internal);
  CHECK(out.outcomes[2]);
  CHECK(out.outcomes[3]);
  CHECK_FALSE(out.error);
  CHECK(out.jobs.size() == 2);
  for (const core::Id& id : ids)
    CHECK(f.view(id).message->state == core::MessageState::sending);
  Database db(f.database_path());
  CHECK(db.value("SELECT count(*) FROM recipient WHERE key LIKE 'bad%'") == "0");
  CHECK(db.value("SELECT count(*) FROM message") == "3");
  CHECK(f.stats().accepted_total == 3);
  CHECK(f.stats().challenges.at("otp_sent") == 2);
  // A change is told once, and none of the one that failed.
  CHECK(std::count_if(out.changes.begin(), out.changes.end(),
                      [&](const core::Change& c) { return c.challenge == ids[0] && !c.message; }) == 1);
}

TEST_CASE("a command that fails alone in its batch leaves nothing and the claims go on") {
  StoreFixture f;
  const core::ChallengeView taken = f.created();
  core::CreateChallenge bad = f.create_command();
  bad.id = taken.id;
  std::vector<core::Command> batch;
  batch.emplace_back(std::move(bad));
  const core::Committed out = f.commit(std::move(batch), 10);
  CHECK_FALSE(out.outcomes[0]);
  CHECK(out.jobs.size() == 1);
}

TEST_CASE("a refusal writes nothing") {
  StoreFixture f;
  f.close();
  f.max_open_messages = 4;
  f.open();
  const core::ChallengeView open = f.created("a@example.org");
  const core::ChallengeView ended = f.created("b@example.org");
  (void)f.challenge_answer(f.cancel_command(ended.id));
  const core::ChallengeView old = f.created("c@example.org");
  core::CreateChallenge failing = f.create_command("d@example.org");
  failing.template_name = "broken";
  const core::ChallengeView broken = f.challenge_answer(std::move(failing)).challenge;

  core::Command command = core::Sweep{};
  SECTION("not found: send") {
    command = f.send_command(f.ids.next(f.now));
  }
  SECTION("not found: check") {
    command = f.check_command(f.ids.next(f.now), "1");
  }
  SECTION("not found: cancel") {
    command = f.cancel_command(f.ids.next(f.now));
  }
  SECTION("cooldown") {
    command = f.send_command(open.id);
  }
  SECTION("cooldown, short form") {
    core::CreateChallenge again = f.create_command("a@example.org");
    again.reuse = core::CreateChallenge::Reuse::open_one;
    command = std::move(again);
  }
  SECTION("closed: send") {
    command = f.send_command(ended.id);
  }
  SECTION("closed by time: send") {
    f.now = old.expires_at;
    command = f.send_command(old.id);
  }
  SECTION("closed by time: cancel") {
    f.now = old.expires_at;
    command = f.cancel_command(old.id);
  }
  SECTION("template") {
    f.now += 30s;
    command = f.send_command(broken.id);
  }
  SECTION("overloaded") {
    (void)f.created("e@example.org");
    command = f.create_command("f@example.org");
  }
  SECTION("overloaded, instead of one with too little life") {
    f.now += 545s;
    core::CreateChallenge extra = f.create_command("e@example.org");
    (void)f.challenge_answer(std::move(extra));
    core::CreateChallenge again = f.create_command("a@example.org");
    again.reuse = core::CreateChallenge::Reuse::open_one;
    command = std::move(again);
  }
  SECTION("terms that allow no send") {
    f.now += 545s;
    core::CreateChallenge again = f.create_command("a@example.org");
    again.reuse = core::CreateChallenge::Reuse::open_one;
    again.terms.usable_minimum = 700s;
    command = std::move(again);
  }
  Database db(f.database_path());
  const std::string before = db.dump();
  (void)f.refusal(std::move(command));
  CHECK(db.dump() == before);
  CHECK(f.last.changes.empty());
}

TEST_CASE("an empty batch without anything to claim writes nothing") {
  StoreFixture f;
  Database db(f.database_path());
  const std::string before = db.value("PRAGMA data_version");
  CHECK(f.claim().empty());
  CHECK(db.value("PRAGMA data_version") == before);
}

}  // namespace mailotp::store::test
