// Retention: what goes, what stays, in which steps, and what is counted.
#include <fstream>

#include <catch2/catch.hpp>

#include "core/snapshot.h"
#include "store/migrations.h"
#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using core::MessageState;
using namespace std::chrono_literals;

namespace {

struct PurgeFixture : StoreFixture {
  PurgeFixture() {
    retention.challenges = core::Seconds{3600};
    retention.messages = core::Seconds{2 * 3600};
    retention.events = core::Seconds{3 * 3600};
    retention.bounces = core::Seconds{4 * 3600};
    close();
    open();
    db.emplace(database_path());
  }

  std::int64_t purge(int limit = 100) {
    auto outcome = run(core::Purge{.at = now, .limit = limit});
    INFO((outcome ? "" : outcome.error().what));
    REQUIRE(outcome);
    REQUIRE(std::holds_alternative<core::Purged>(*outcome));
    return std::get<core::Purged>(*outcome).rows;
  }
  // Until nothing more is removed.
  std::int64_t purge_all() {
    std::int64_t sum = 0;
    while (const std::int64_t rows = purge())
      sum += rows;
    return sum;
  }
  std::string count(const std::string& table) { return db->value("SELECT count(*) FROM " + table); }

  core::ChallengeView relayed(const std::string& mailbox = "alice@example.org") {
    const core::ChallengeView made = created(mailbox);
    const auto jobs = claim(1);
    REQUIRE(jobs.size() == 1);
    done(fact(core::JobRelayed{jobs[0].key, {250, "2.0.0", "ok"}}));
    return made;
  }

  core::Id templated(const std::string& mailbox = "bob@example.org") {
    core::CreateMessage message;
    message.at = now;
    message.id = ids.next(now);
    message.app = "shop";
    message.recipient = *core::parse_address(mailbox);
    message.not_after = now + 5 * 24h;
    message.mail = core::ComposedMail{core::Secret("mail"), "<1@test>", "0123456789abcdef", "en"};
    const core::Id id = message.id;
    REQUIRE(run(std::move(message)));
    return id;
  }

  std::optional<Database> db;
};

std::int64_t sum(const std::map<std::string, std::int64_t>& counts) {
  std::int64_t out = 0;
  for (const auto& [name, value] : counts)
    out += value;
  return out;
}

}  // namespace

TEST_CASE("each table is kept for its own time, from the end of what it tells") {
  PurgeFixture f;
  const core::ChallengeView made = f.relayed();
  f.now += 5min;
  (void)f.challenge_answer(f.cancel_command(made.id));
  const core::WallTime ended = f.now;

  f.now = ended + 1h - 1ms;
  CHECK(f.purge() == 0);
  f.now = ended + 1h;
  CHECK(f.purge() == 1);
  CHECK(f.count("challenge") == "0");

  f.now = ended - 5min + 2h - 1ms;  // the mail had been relayed before
  CHECK(f.purge() == 0);
  f.now = ended - 5min + 2h;
  CHECK(f.purge() == 1);
  CHECK(f.count("message") == "0");
  CHECK(f.count("recipient") == "0");

  CHECK(f.count("event") == "4");  // created, queued, relayed, canceled
  f.now = ended + 3h - 1ms;
  CHECK(f.purge() == 3);
  f.now = ended + 30 * 24h;
  CHECK(f.purge() == 0);  // the newest stays: its number would be given out again
  CHECK(f.count("event") == "1");
}

TEST_CASE("the states count what is there, the totals what has been") {
  PurgeFixture f;
  for (int i = 0; i < 3; ++i)
    (void)f.relayed("user" + std::to_string(i) + "@example.org");
  (void)f.created();
  const auto refused = f.claim(1);
  REQUIRE(refused.size() == 1);
  f.done(f.fact(core::JobRefused{refused[0].key, core::Stage::rcpt, {550, "5.1.1", "no such user"}}));
  const core::Stats before = f.stats();
  CHECK(before.messages.at("relayed") == 3);
  CHECK(before.messages.at("failed") == 1);

  f.now += 24h;
  f.done(core::Sweep{f.now});  // the challenges expire
  f.now += 24h;
  CHECK(f.purge_all() > 0);
  const core::Stats after = f.stats();
  CHECK(sum(after.messages) == 0);
  CHECK(sum(after.challenges) == 0);
  CHECK(after.accepted_total == 4);
  CHECK(after.ended_total == before.ended_total);
  for (const char* table :
       {"challenge", "message", "message_body", "bounce", "suppression", "evidence", "recipient"}) {
    CAPTURE(table);
    CHECK(f.count(table) == "0");
  }
  f.close();
  f.open();
  CHECK(f.stats().accepted_total == 4);
  CHECK(f.created().message);
}

TEST_CASE("what is open stays, however old it is") {
  PurgeFixture f;
  f.retention.challenges = f.retention.messages = core::Seconds{1};
  f.close();
  f.open();
  core::CreateChallenge unsent = f.create_command();
  unsent.terms.ttl = core::Seconds{86400};
  unsent.message.reset();
  const core::Id challenge = f.challenge_answer(std::move(unsent)).challenge.id;
  const core::Id queued = f.templated();
  f.now += 23h;
  (void)f.purge_all();
  CHECK(f.view(challenge).state == core::ChallengeState::started);
  CHECK(f.message_view(queued).state == MessageState::queued);
  CHECK(f.count("message_body") == "1");
}

TEST_CASE("a mail in the agent's hands outlives its challenge, and its fact is still taken") {
  PurgeFixture f;
  const core::ChallengeView made = f.created();
  const auto jobs = f.claim(1);
  REQUIRE(jobs.size() == 1);
  (void)f.challenge_answer(f.cancel_command(made.id));
  f.now += 1h;
  CHECK(f.purge_all() == 1);
  CHECK(f.count("challenge") == "0");
  f.done(f.fact(core::JobRelayed{jobs[0].key, {250, "2.0.0", "ok"}}));
  CHECK(f.message_view(made.message->id).state == MessageState::relayed);
}

TEST_CASE("one that rests uncertain goes as well, and counts as ended so: nothing is missing in the sums") {
  PurgeFixture f;
  const core::Id id = f.templated();
  for (int i = 0; i < 2; ++i) {
    const auto jobs = f.claim(1);
    REQUIRE(jobs.size() == 1);
    f.done(f.fact(core::JobUncertain{jobs[0].key, "connection lost"}));
    f.now = *f.last.next_due;
    f.done(core::Sweep{f.now});
  }
  CHECK(f.message_view(id).state == MessageState::uncertain);
  CHECK(f.count("message_body") == "0");
  f.now += 2h;
  (void)f.purge();
  CHECK(f.count("message") == "0");
  const core::Stats stats = f.stats();
  CHECK(stats.messages.at("uncertain") == 0);
  CHECK(stats.ended_total.at("uncertain") == 1);
  CHECK(stats.accepted_total == sum(stats.ended_total));
}

TEST_CASE("a step removes no more than it may of each table, the oldest first") {
  PurgeFixture f;
  std::vector<core::ChallengeView> made;
  for (int i = 0; i < 5; ++i) {
    made.push_back(f.relayed("user" + std::to_string(i) + "@example.org"));
    (void)f.challenge_answer(f.cancel_command(made.back().id));
    f.now += 1s;
  }
  f.now += 24h;
  CHECK(f.purge(2) == 2 + 2 + 2);  // challenges, messages, events
  CHECK(f.count("challenge") == "3");
  CHECK(f.count("message") == "3");
  CHECK(f.count("event") == "18");
  CHECK(f.message_view(made[2].message->id).state == MessageState::relayed);
  std::int64_t steps = 1;
  while (f.purge(2) > 0)
    ++steps;
  CHECK(steps == 10);  // for 19 events
}

TEST_CASE("a step ends when it has taken long enough, and the next one goes on with the next table") {
  PurgeFixture f;
  for (int i = 0; i < 40; ++i)
    (void)f.challenge_answer(f.cancel_command(f.relayed("user" + std::to_string(i) + "@example.org").id));
  f.now += 24h;
  int asked = 0;
  int no_before = 0;
  const auto step = [&] {
    asked = 0;
    const auto outcome = f.run(core::Purge{f.now, 100, [&] { return ++asked > no_before; }});
    REQUIRE(outcome);
    return std::get<core::Purged>(*outcome);
  };
  core::Purged done = step();  // no time at all: a portion of the first table
  CHECK(asked == 2);
  CHECK(done.rows == 16);
  CHECK(done.more);
  CHECK(f.count("challenge") == "24");
  CHECK(f.count("message") == "40");
  done = step();
  CHECK(f.count("message") == "24");
  no_before = 9;  // once around
  done = step();
  CHECK(done.more);
  CHECK(f.count("challenge") == "8");
  CHECK(f.count("message") == "8");
  int steps = 0;
  for (no_before = 3; done.more && steps < 60; ++steps)
    done = step();
  CHECK_FALSE(done.more);
  CHECK(f.count("challenge") == "0");
  CHECK(f.count("event") == "1");
  CHECK(f.count("recipient") == "0");
}

TEST_CASE("a sweep ends when it has taken long enough, a portion of each kind at least") {
  StoreFixture f;
  for (int i = 0; i < 30; ++i)
    (void)f.created("user" + std::to_string(i) + "@example.org");
  for (int i = 0; i < 30; ++i) {
    core::CreateMessage message;
    message.at = f.now;
    message.id = f.ids.next(f.now);
    message.app = "shop";
    message.recipient = *core::parse_address("other" + std::to_string(i) + "@example.org");
    message.not_after = f.now + 1h;
    message.mail = core::ComposedMail{core::Secret("mail"), "<1@test>", "0123456789abcdef", "en"};
    REQUIRE(f.run(std::move(message)));
  }
  f.now += 24h;
  const auto expired = [&] { return f.stats().messages.at("expired"); };
  f.done(core::Sweep{f.now, 200, [] { return true; }});
  CHECK(f.stats().challenges.at("expired") == 16);  // half of them with their mails
  CHECK(expired() == 16);
  REQUIRE(f.last.next_due);
  CHECK(*f.last.next_due <= f.now);
  int steps = 0;
  for (; f.last.next_due && *f.last.next_due <= f.now && steps < 100; ++steps)
    f.done(core::Sweep{f.now, 200, [] { return true; }});
  CHECK(steps < 10);
  CHECK(expired() == 60);
  CHECK(f.stats().challenges.at("expired") == 30);
}

TEST_CASE("a challenge whose mail is gone shows none, also when its number is given out again") {
  PurgeFixture f;
  f.retention.messages = core::Seconds{1};
  f.close();
  f.open();
  const core::ChallengeView made = f.relayed();
  f.now += 1s;
  REQUIRE(f.purge() == 1);
  CHECK_FALSE(f.view(made.id).message);
  const core::Id other = f.templated();
  CHECK(f.db->value("SELECT n FROM message") == "1");
  CHECK_FALSE(f.view(made.id).message);
  // Its end does not touch the other's mail, and another send goes on from nothing.
  f.now += 30s;
  const core::ChallengeView again = f.challenge_answer(f.send_command(made.id)).challenge;
  REQUIRE(again.message);
  (void)f.challenge_answer(f.cancel_command(made.id));
  CHECK(f.message_view(other).state == MessageState::queued);
  CHECK(f.message_view(again.message->id).state == MessageState::canceled);
}

TEST_CASE("older mails of a challenge may go before its newest one") {
  PurgeFixture f;
  f.retention.messages = core::Seconds{60};
  f.close();
  f.open();
  const core::ChallengeView made = f.relayed();
  f.now += 60s;
  const core::ChallengeView again = f.challenge_answer(f.send_command(made.id)).challenge;
  REQUIRE(f.purge() == 1);
  CHECK(f.view(made.id).message->id == again.message->id);
  (void)f.challenge_answer(f.cancel_command(made.id));
  CHECK(f.message_view(again.message->id).state == MessageState::canceled);
}

TEST_CASE("the numbers of events go on rising after a purge") {
  PurgeFixture f;
  (void)f.relayed();
  const std::string newest = f.db->value("SELECT max(seq) FROM event");
  f.now += 24h;
  (void)f.purge_all();
  CHECK(f.db->value("SELECT max(seq) FROM event") == newest);
  (void)f.templated();
  CHECK(f.db->value("SELECT min(seq) FROM event WHERE at >= " + std::to_string(core::to_unix_ms(f.now))) ==
        std::to_string(std::stoll(newest) + 1));
}

TEST_CASE("a clock that was ahead for a while does not keep old events for ever") {
  PurgeFixture f;
  const core::WallTime right = f.now;
  f.now += 365 * 24h;
  (void)f.templated("a@example.org");
  f.now = right;
  (void)f.templated("b@example.org");
  (void)f.templated("c@example.org");
  f.now += 3h;
  CHECK(f.purge() == 2);
}

TEST_CASE("a row that cannot be read is passed over and keeps nobody") {
  PurgeFixture f;
  for (int i = 0; i < 3; ++i)
    (void)f.challenge_answer(f.cancel_command(f.relayed("user" + std::to_string(i) + "@example.org").id));
  f.db->run("UPDATE message SET state = 99 WHERE n = 1; UPDATE challenge SET state = -1 WHERE n = 2");
  f.now += 24h;
  (void)f.purge_all();
  CHECK(f.db->rows("SELECT n FROM message") == std::vector<std::string>{"1"});
  CHECK(f.db->rows("SELECT n FROM challenge") == std::vector<std::string>{"2"});
  CHECK(f.stats().messages.at("relayed") == 1);
}

TEST_CASE("a recipient stays while anything tells of him, a kept answer too") {
  PurgeFixture f;
  core::CreateChallenge command = f.create_command();
  command.once = core::Once{"k", core::Secret("{}"), [](const core::Answer&) {
                              return core::KeptAnswer{201, "", core::Secret("{}")};
                            }};
  const core::ChallengeView made = f.challenge_answer(std::move(command)).challenge;
  const core::WallTime start = f.now;
  (void)f.challenge_answer(f.cancel_command(made.id));
  f.now += 3h;
  (void)f.purge_all();
  CHECK(f.count("message") == "0");
  CHECK(f.count("challenge") == "0");
  CHECK(f.count("recipient") == "1");
  f.now = start + 24h - 1ms;
  CHECK(f.purge_all() == 0);
  f.now = start + 24h;
  CHECK(f.purge_all() == 1);
  CHECK(f.count("idempotency") == "0");
  CHECK(f.count("recipient") == "0");
}

TEST_CASE("no byte of a removed recipient is left in the file") {
  PurgeFixture f;
  (void)f.challenge_answer(f.cancel_command(f.relayed("gone-for-good@example.org").id));
  CHECK(f.db->dump().find("gone-for-good") != std::string::npos);
  f.now += 24h;
  (void)f.purge_all();
  CHECK(f.db->dump().find("gone-for-good") == std::string::npos);
}

TEST_CASE("a database of the first schema learns when its rows ended") {
  TemporaryFolder folder;
  const std::string path = folder.path() + "/mailotpd.db";
  {
    std::ofstream made(path);
    Database old(path);
    old.run(migrations()[0]);
    old.run("PRAGMA application_id = " + std::to_string(core::k_database_id) + "; PRAGMA user_version = 1");
    for (const auto& [n, state] : {std::pair{1, 0}, std::pair{2, 5}, std::pair{3, 3}}) {
      const std::string due = state == 0 ? "90" : std::to_string(core::to_unix_ms(core::k_never));
      old.run(
          "INSERT INTO message (n, id, current, recipient, app, mailbox, created_at, kind, state, attempt, "
          "attempts, uncertain, orphaned, not_after, due_at, revision, message_id, template, "
          "template_version) VALUES (" +
          std::to_string(n) + ", randomblob(16), 1, 1, 'a', 'a@b.example', 10, 1, " + std::to_string(state) +
          ", 1, 1, 0, 0, 90, " + due + ", 1, 'm', 't', 'v')");
    }
  }
  StoreFixture f;
  PlainComposer composer;
  auto opened = SqliteStore::open({folder.path(), key_ring({'k'}), f.policy, "bounces@example.org", 1000,
                                   composer, f.random, f.tokens, 0, 0});
  INFO((opened ? "" : opened.error().what));
  REQUIRE(opened);
  Database db(path);
  CHECK(db.rows("SELECT n, ended_at FROM message ORDER BY n") ==
        std::vector<std::string>{"1|NULL", "2|90", "3|90"});
}

}  // namespace mailotp::store::test
