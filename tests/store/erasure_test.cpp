// An address that is erased leaves no byte; what is counted of it stays.
#include <fstream>
#include <sstream>

#include <catch2/catch.hpp>

#include "tests/store/bounce_fixture.h"
#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using namespace std::chrono_literals;

namespace {

// All steps; the rows that went.
std::int64_t erase(StoreFixture& f, const std::string& address, int limit = 200) {
  core::Erase command;
  command.at = f.now;
  command.address = *core::parse_address(address);
  command.limit = limit;
  command.actor = {core::ActorKind::operator_, 0};
  for (int steps = 0; steps < 1000; ++steps) {
    const core::Outcome outcome = f.run(command);
    REQUIRE(outcome);
    const auto& erased = std::get<core::Erased>(*outcome);
    command.rows_before += erased.rows;
    if (!erased.next) return command.rows_before;
    command.from = *erased.next;
  }
  FAIL("it does not end");
  return 0;
}

std::string bytes_of(const StoreFixture& f) {
  std::ostringstream out;
  out << std::ifstream(f.database_path(), std::ios::binary).rdbuf();
  return out.str();
}

}  // namespace

TEST_CASE("every spelling of an erased address goes, from every table and event") {
  StoreFixture f;
  f.limits.common.recipient_sends = {{4, 3600s}};
  f.close();
  f.open();
  const core::ChallengeView open = f.created("erased.one@example.org");
  (void)f.created("Erased.One+tag@EXAMPLE.org");
  const core::ChallengeView kept = f.created("erased.two@example.org");
  core::CreateChallenge once = f.create_command("erased.one@example.org");
  once.once = core::Once{"key", core::Secret(std::string("r")), [](const core::Answer&) {
                           return core::KeptAnswer{201, "/", core::Secret(std::string("{}"))};
                         }};
  (void)f.challenge_answer(std::move(once));
  for (const core::Job& job : f.claim(3))
    f.done(f.fact(
        core::JobRefused{job.key, core::Stage::rcpt, {550, "5.1.1", "<" + job.recipient + "> unknown"}}));
  f.done(core::ShiftClock{f.now, core::Millis{0}, {"boot", core::Millis{0}}});
  const std::int64_t accepted = f.stats().accepted_total;

  CHECK(erase(f, "ERASED.one+other@example.org", GENERATE(1, 2, 200)) > 0);
  CHECK(f.refusal(f.check_command(open.id, f.last_code)).kind == core::RefusalKind::not_found);
  CHECK(f.view(kept.id).recipient == "erased.two@example.org");
  const core::Stats stats = f.stats();
  CHECK(stats.accepted_total == accepted);
  std::int64_t accounted = 0;
  for (const auto& [state, count] : stats.ended_total)
    accounted += count;
  accounted += stats.messages.at("queued") + stats.messages.at("sending") + stats.messages.at("deferred") +
               stats.messages.at("uncertain") + stats.messages.at("held");
  CHECK(accounted == accepted);

  SECTION("no byte of it is left after a clean stop") {
    f.close();
    const std::string bytes = bytes_of(f);
    CHECK(bytes.find("erased.two@example.org") != std::string::npos);
    CHECK(bytes.find("rased.one") == std::string::npos);
    CHECK(bytes.find("rased.One") == std::string::npos);
    Database db(f.database_path());
    CHECK(db.value("SELECT count(*) FROM recipient") == "1");
    CHECK(db.value("SELECT count(*) FROM idempotency") == "0");
    CHECK(db.value("SELECT count(*) FROM message_body") == "0");
    CHECK(db.value("SELECT count(*) FROM event WHERE type = 203") == "1");
  }
  SECTION("its budget is what it was") {
    const auto sends = [&] {
      return std::holds_alternative<core::ChallengeAnswer>(
          *f.run(f.create_command("erased.one@example.org")));
    };
    CHECK(sends());
    CHECK_FALSE(sends());
  }
}

TEST_CASE("a mail that is under way when its address is erased is sent to its end, and nothing is written") {
  StoreFixture f;
  (void)f.created("erased@example.org");
  const auto jobs = f.claim();
  REQUIRE(jobs.size() == 1);
  CHECK(erase(f, "erased@example.org") > 0);
  f.done(f.fact(
      core::JobRefused{jobs[0].key, core::Stage::rcpt, {550, "5.1.1", "<erased@example.org> unknown"}}));
  CHECK(f.stats().ended_total.at("canceled") == 1);
  f.close();
  CHECK(bytes_of(f).find("erased@example.org") == std::string::npos);
}

TEST_CASE("words of bounces that name an erased address go, too") {
  StoreFixture f;
  f.close();
  {
    Database db(f.database_path());
    for (const char* words :
         {"'bob@example.org', '550 forwarded to <Erased+x@example.org>, unknown'",
          "'erased@example.org', NULL", "'bob@example.org', 'mailbox of erased@example.org.'",
          "'bob@example.org', 'noterased@example.org is another one'"})
      db.run(
          "INSERT INTO bounce (at, source, kind, class, mailbox, diagnostic, traced_by, weight) VALUES (1, "
          "0, 0, "
          "0, " +
          std::string(words) + ", 0, 0)");
  }
  f.open();
  REQUIRE(f.store->recover(f.now));
  CHECK(erase(f, "erased@example.org", 1) == 3);
  CHECK(Database(f.database_path())
            .value("SELECT count(*) FROM bounce WHERE diagnostic LIKE '%another one%'") == "1");
  f.close();
  const std::string bytes = bytes_of(f);
  CHECK(bytes.find("<Erased") == std::string::npos);
  CHECK(bytes.find("of erased") == std::string::npos);
}

TEST_CASE("what a relay said of a mail goes with its row, before nobody finds it any more") {
  StoreFixture f;
  f.retention.challenges = 60s;
  f.retention.messages = 60s;
  f.close();
  f.open();
  REQUIRE(f.store->recover(f.now));
  (void)f.created("erased@example.org");
  const auto jobs = f.claim();
  f.done(f.fact(
      core::JobRefused{jobs[0].key, core::Stage::rcpt, {550, "5.1.1", "<erased@example.org> unknown"}}));
  f.now += 700s;
  f.done(core::Sweep{f.now});
  f.now += 120s;
  (void)f.run(core::Purge{.at = f.now});
  Database db(f.database_path());
  REQUIRE(db.value("SELECT count(*) FROM message") == "0");
  CHECK(db.value("SELECT count(*) FROM event WHERE message IS NOT NULL") != "0");
  CHECK(db.value("SELECT count(*) FROM event WHERE message IS NOT NULL AND detail IS NOT NULL") == "0");
}

TEST_CASE("words that name an erased address go from the mails of others, too") {
  StoreFixture f;
  const core::ChallengeView bob = f.created("bob@example.org");
  const auto jobs = f.claim();
  f.done(f.fact(core::JobRefused{
      jobs[0].key, core::Stage::rcpt, {550, "5.1.1", "rcpt=erased@example.org unknown, forwarded"}}));
  REQUIRE(f.message_view(bob.message->id).verdict);
  CHECK(erase(f, "erased@example.org") > 0);
  CHECK(f.message_view(bob.message->id).state == core::MessageState::failed);
  f.close();
  CHECK(bytes_of(f).find("bob@example.org") != std::string::npos);
  CHECK(bytes_of(f).find("erased@example.org") == std::string::npos);
}

// SQLite leaves copies between the cells of pages that it has split or merged.
TEST_CASE("no page keeps a copy of an erased address, after many rows came and changed") {
  StoreFixture f;
  constexpr int k_many = 900;
  const auto address = [](int i) { return "person" + std::to_string(i * 7919 % 10'000) + "@example.org"; };
  std::vector<core::Command> batch;
  for (int i = 0; i < k_many; ++i)
    batch.emplace_back(f.create_command(address(i)));
  (void)f.commit(std::move(batch));
  batch.clear();
  auto jobs = f.claim(k_many);
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const core::Job& job = jobs[i * 337 % jobs.size()];
    batch.emplace_back(f.fact(core::JobRefused{
        job.key, core::Stage::rcpt, {550, "5.1.1", std::string(i % 150, 'x') + " <" + job.recipient + ">"}}));
  }
  (void)f.commit(std::move(batch));
  batch.clear();
  std::vector<std::string> gone;
  for (int i = 0; i < k_many; i += 3)
    gone.push_back(address(i));
  for (const std::string& one : gone) {
    core::Erase command;
    command.at = f.now;
    command.address = *core::parse_address(one);
    command.limit = 5'000;
    batch.emplace_back(command);
  }
  (void)f.commit(std::move(batch));
  f.close();
  const std::string bytes = bytes_of(f);
  for (const std::string& one : gone) {
    CAPTURE(one);
    CHECK(bytes.find(one) == std::string::npos);
  }
  CHECK(bytes.find(address(1)) != std::string::npos);
}

TEST_CASE("a row that cannot be read is erased all the same") {
  StoreFixture f;
  (void)f.created("erased@example.org");
  f.close();
  Database(f.database_path()).run("UPDATE challenge SET state = 77");
  Database(f.database_path()).run("UPDATE message SET state = 77");
  f.open();
  REQUIRE(f.store->recover(f.now));
  CHECK(erase(f, "erased@example.org") > 0);
  f.close();
  CHECK(bytes_of(f).find("erased@example.org") == std::string::npos);
}

TEST_CASE("an address that nobody knows is erased without a trace") {
  StoreFixture f;
  CHECK(erase(f, "nobody@example.org") == 0);
  CHECK(Database(f.database_path()).value("SELECT count(*) FROM event") == "0");
}

}  // namespace mailotp::store::test
