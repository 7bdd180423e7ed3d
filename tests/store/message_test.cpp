#include <catch2/catch.hpp>

#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using namespace std::chrono_literals;
using core::MessageState;

TEST_CASE("a claim hands out a job in the commit that makes the message") {
  StoreFixture f;
  std::vector<core::Command> batch;
  batch.emplace_back(f.create_command());
  const core::Committed out = f.commit(std::move(batch), 4);
  REQUIRE(out.jobs.size() == 1);
  const core::Job& job = out.jobs[0];
  CHECK(job.relay == "primary");
  CHECK(job.return_path == "bounces+" + f.tokens.recipient(1, "alice@example.org", f.now) + "@example.org");
  CHECK(job.envid == f.tokens.message(job.key.message));
  CHECK(job.recipient == "alice@example.org");
  CHECK(job.key.attempt == 1);
  CHECK(job.time_left == 540s);
  CHECK(job.content.reveal().find(k_body_marker) != std::string::npos);
  CHECK(job.envid.size() <= 80);
  CHECK_FALSE(out.more_queued);
  CHECK(f.message_view(job.key.message).state == MessageState::sending);
}

TEST_CASE("a claim takes the earliest deadline first and says what is left") {
  StoreFixture f;
  const auto with_life = [&](core::Seconds ttl) {
    core::CreateChallenge command = f.create_command();
    command.terms.ttl = ttl;
    return f.challenge_answer(std::move(command)).challenge.message->id;
  };
  const core::Id late = with_life(900s);
  const core::Id early = with_life(300s);
  const core::Id middle = with_life(600s);
  const auto first = f.claim(2);
  REQUIRE(first.size() == 2);
  CHECK(first[0].key.message == early);
  CHECK(first[1].key.message == middle);
  CHECK(f.last.more_queued);
  const auto second = f.claim(2);
  REQUIRE(second.size() == 1);
  CHECK(second[0].key.message == late);
  CHECK_FALSE(f.last.more_queued);
}

TEST_CASE("a claim expires what is too late and uses none of its budget for it") {
  StoreFixture f;
  core::CreateChallenge dead = f.create_command();
  dead.terms.ttl = 61s;
  const core::Id late = f.challenge_answer(std::move(dead)).challenge.message->id;
  const core::Id good = f.created("b@example.org").message->id;
  f.now += 2s;
  const auto jobs = f.claim(1);
  REQUIRE(jobs.size() == 1);
  CHECK(jobs[0].key.message == good);
  const core::MessageView expired = f.message_view(late);
  CHECK(expired.state == MessageState::expired);
  REQUIRE(expired.verdict);
  CHECK(expired.verdict->kind == core::VerdictKind::unsent);
  CHECK(f.stats().ended_total.at("expired") == 1);
}

TEST_CASE("a relayed message keeps its reply, and its challenge shows the news") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  const auto jobs = f.claim();
  f.now += 1s;
  f.done(f.fact(core::JobDotNext{jobs[0].key}));
  f.done(f.fact(core::JobRelayed{jobs[0].key, {250, "2.0.0", "queued as \"A1\""}}));
  const core::ChallengeView now = f.view(made.id);
  CHECK(now.revision > made.revision);
  CHECK(now.message->state == MessageState::relayed);
  CHECK(now.message->reply == core::Reply{250, "2.0.0", "queued as \"A1\""});
  CHECK(now.message->attempts == 1);
  CHECK(now.message->relay == "primary");
  REQUIRE(f.last.changes.size() == 1);
  CHECK(f.last.changes[0].challenge == made.id);
  CHECK(f.last.changes[0].message == made.message->id);
  REQUIRE(f.last.relayed.size() == 1);
  CHECK(f.last.relayed[0].kind == core::MessageKind::otp);
  CHECK(f.last.relayed[0].waited == 1s);
  CHECK(f.events(made.message->id) == "challenge.created,message.queued,message.relayed");
  f.done(f.fact(core::JobRelayed{jobs[0].key, {250, "2.0.0", "again"}}));
  CHECK(f.last.relayed.empty());
  const core::Stats stats = f.stats();
  CHECK(stats.messages.at("relayed") == 1);
  CHECK(stats.messages.at("queued") == 0);
  CHECK(stats.ended_total.at("relayed") == 1);
  CHECK(stats.accepted_total == 1);
  CHECK_FALSE(stats.oldest_seconds.contains("queued"));
}

TEST_CASE("the detail of an event is JSON with what the relay said") {
  StoreFixture f;
  (void)f.created();
  const auto jobs = f.claim();
  f.done(f.fact(core::JobRefused{jobs[0].key, core::Stage::rcpt, {451, "4.3.0", "a \"b\" \\ c\n"}}));
  Database db(f.database_path());
  CHECK(db.value("SELECT detail FROM event ORDER BY seq DESC LIMIT 1") ==
        R"({"attempt":1,"relay":"primary","stage":"rcpt",)"
        R"("reply":{"code":451,"status":"4.3.0","text":"a \"b\" \\ c\u000a"}})");
  CHECK(db.value("SELECT count(*) FROM event WHERE detail IS NOT NULL AND json_valid(detail) = 0") == "0");
}

TEST_CASE("a deferred message comes again when it is due, with the next attempt number") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  auto jobs = f.claim();
  f.done(f.fact(core::JobNotSent{jobs[0].key, core::Stage::connect, "connection refused", std::nullopt}));
  const core::MessageView deferred = f.message_view(made.message->id);
  CHECK(deferred.state == MessageState::deferred);
  REQUIRE(deferred.next_attempt_at);
  CHECK(*deferred.next_attempt_at > f.now);
  CHECK(f.last.next_due == deferred.next_attempt_at);
  CHECK(f.claim().empty());
  f.now = *deferred.next_attempt_at;
  std::vector<core::Command> batch;
  batch.emplace_back(core::Sweep{f.now});
  const core::Committed out = f.commit(std::move(batch), 1);
  REQUIRE(out.jobs.size() == 1);
  CHECK(out.jobs[0].key.attempt == 2);
  CHECK(out.jobs[0].content.reveal() == jobs[0].content.reveal());
}

TEST_CASE("a fact of an attempt that is not in force changes nothing") {
  StoreFixture f;
  (void)f.created();
  const auto first = f.claim();
  f.done(f.fact(core::JobNotSent{first[0].key, core::Stage::connect, "refused", std::nullopt}));
  f.now += 5s;
  std::vector<core::Command> due;
  due.emplace_back(core::Sweep{f.now});
  const auto second = f.commit(std::move(due), 1).jobs;
  REQUIRE(second.size() == 1);
  Database db(f.database_path());
  const std::string before = db.dump();
  const core::AttemptKey old = first[0].key;
  f.done(f.fact(core::JobRelayed{old, {250, "", "late"}}));
  f.done(f.fact(core::JobRefused{old, core::Stage::dot, {554, "", "late"}}));
  f.done(f.fact(core::JobNotSent{old, core::Stage::dns, "late", std::nullopt}));
  f.done(f.fact(core::JobUncertain{old, "late"}));
  f.done(core::SettleLost{f.now, old, true});
  f.done(f.fact(core::JobRelayed{{f.ids.next(f.now), 1}, {250, "", "nobody's"}}));
  f.done(f.fact(core::RelayFact{}));
  CHECK(db.dump() == before);
  f.done(f.fact(core::JobRelayed{second[0].key, {250, "", "ok"}}));
  // A message that has ended takes no further fact.
  const std::string ended = db.dump();
  f.done(f.fact(core::JobRefused{second[0].key, core::Stage::dot, {554, "", "again"}}));
  CHECK(db.dump() == ended);
}

TEST_CASE("a message lost before the dot is sent again, one lost after it is uncertain") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  const auto jobs = f.claim();
  const bool dot = GENERATE(false, true);
  f.done(core::SettleLost{f.now, jobs[0].key, dot});
  CHECK(f.message_view(made.message->id).state == (dot ? MessageState::uncertain : MessageState::queued));
}

TEST_CASE("an uncertain message is repeated once with the same bytes, then rests without a body") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  auto jobs = f.claim();
  const std::string bytes(jobs[0].content.reveal());
  f.done(f.fact(core::JobUncertain{jobs[0].key, "connection lost"}));
  f.now = *f.last.next_due;
  std::vector<core::Command> batch;
  batch.emplace_back(core::Sweep{f.now});
  jobs = f.commit(std::move(batch), 1).jobs;
  REQUIRE(jobs.size() == 1);
  CHECK(jobs[0].content.reveal() == bytes);
  f.done(f.fact(core::JobUncertain{jobs[0].key, "again"}));
  REQUIRE(f.last.next_due);
  f.now = made.message->not_after;
  f.done(core::Sweep{f.now});
  CHECK(f.message_view(made.message->id).state == MessageState::uncertain);
  CHECK(f.message_view(made.message->id).uncertain == 2);
  CHECK(Database(f.database_path()).value("SELECT count(*) FROM message_body") == "0");
  CHECK(f.last.next_due == made.expires_at);
}

TEST_CASE("recover settles what was in sending, once, and holds what came back three times") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  for (int start = 1; start <= 3; ++start) {
    REQUIRE(f.claim().size() == 1);
    f.close();
    f.open();
    const auto recovered = f.store->recover(f.now);
    REQUIRE(recovered);
    CHECK(recovered->orphans == 1);
    CHECK(recovered->held == (start == 3 ? 1u : 0u));
    CHECK(f.store->recover(f.now)->orphans == 0);
    if (start == 3) break;
    CHECK(recovered->next_due == f.now);
    CHECK(f.message_view(made.message->id).state == MessageState::uncertain);
    f.done(core::Sweep{f.now});
    CHECK(f.last.more_queued);
  }
  CHECK(f.message_view(made.message->id).state == MessageState::held);
  CHECK(f.stats().messages.at("held") == 1);
}

TEST_CASE("a message in the agent's hands keeps its row when its challenge ends, and is not sent again") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  const auto jobs = f.claim();
  (void)f.challenge_answer(f.cancel_command(made.id));
  CHECK(f.message_view(made.message->id).state == MessageState::sending);
  SECTION("it left") {
    f.done(f.fact(core::JobRelayed{jobs[0].key, {250, "", "ok"}}));
    CHECK(f.message_view(made.message->id).state == MessageState::relayed);
  }
  SECTION("it did not leave") {
    f.done(f.fact(core::JobNotSent{jobs[0].key, core::Stage::connect, "refused", std::nullopt}));
    CHECK(f.message_view(made.message->id).state == MessageState::canceled);
  }
  SECTION("nobody knows") {
    f.done(f.fact(core::JobUncertain{jobs[0].key, "lost"}));
    CHECK(f.message_view(made.message->id).state == MessageState::uncertain);
  }
  SECTION("the daemon restarted") {
    f.close();
    f.open();
    REQUIRE(f.store->recover(f.now));
    CHECK(f.message_view(made.message->id).state == MessageState::uncertain);
  }
  CHECK_FALSE(f.last.next_due);
  CHECK(Database(f.database_path()).value("SELECT count(*) FROM message_body") == "0");
}

TEST_CASE("news of an older message does not move the challenge") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  const auto jobs = f.claim();
  f.now += 30s;
  const core::ChallengeView again = f.challenge_answer(f.send_command(made.id)).challenge;
  f.done(f.fact(core::JobRelayed{jobs[0].key, {250, "", "ok"}}));
  CHECK(f.view(made.id).revision == again.revision);
  CHECK(f.message_view(made.message->id).state == MessageState::relayed);
}

TEST_CASE("a late fact of a challenge whose time is up ends both") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  const auto jobs = f.claim();
  f.now = made.expires_at;
  f.done(f.fact(core::JobNotSent{jobs[0].key, core::Stage::connect, "refused", std::nullopt}));
  CHECK(f.view(made.id).state == core::ChallengeState::expired);
  CHECK(f.view(made.id).message->state == MessageState::expired);
  CHECK(f.stats().messages.at("expired") == 1);
}

TEST_CASE("a body that does not open is held and stops nobody else") {
  StoreFixture f;
  const core::Id bad = f.created("a@example.org").message->id;
  const core::Id gone = f.created("b@example.org").message->id;
  const core::Id good = f.created("c@example.org").message->id;
  Database db(f.database_path());
  db.run("UPDATE message_body SET content = zeroblob(100) WHERE n = 1");
  db.run("DELETE FROM message_body WHERE n = 2");
  const auto jobs = f.claim();
  REQUIRE(jobs.size() == 1);
  CHECK(jobs[0].key.message == good);
  CHECK(f.message_view(bad).state == MessageState::held);
  CHECK(f.message_view(gone).state == MessageState::held);
}

TEST_CASE("the totals agree with the rows after a mixed life") {
  StoreFixture f;
  for (int i = 0; i < 12; ++i)
    (void)f.created("user" + std::to_string(i) + "@example.org");
  auto jobs = f.claim(8);
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    if (i % 4 == 0) f.done(f.fact(core::JobRelayed{jobs[i].key, {250, "", "ok"}}));
    if (i % 4 == 1) f.done(f.fact(core::JobRefused{jobs[i].key, core::Stage::rcpt, {550, "5.1.1", "no"}}));
    if (i % 4 == 2) f.done(f.fact(core::JobUncertain{jobs[i].key, "lost"}));
  }
  const core::Stats stats = f.stats();
  Database db(f.database_path());
  std::int64_t open = 0;
  for (int i = 0; i < core::k_message_states; ++i) {
    const auto state = static_cast<MessageState>(i);
    const std::string name(to_string(state));
    CAPTURE(name);
    CHECK(std::to_string(stats.messages.at(name)) ==
          db.value("SELECT count(*) FROM message WHERE state = " + std::to_string(i)));
    if (is_open(state)) open += stats.messages.at(name);
  }
  std::int64_t ended = 0;
  for (const auto& [name, count] : stats.ended_total)
    ended += count;
  CHECK(stats.accepted_total == 12);
  CHECK(open + ended == stats.accepted_total);
}

}  // namespace mailotp::store::test
