#include <catch2/catch.hpp>

#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using namespace std::chrono_literals;
using core::ChallengeState;
using core::Disposition;
using core::MessageState;
using core::RefusalKind;

TEST_CASE("a created challenge is shown as it is and its mail is queued") {
  StoreFixture f;
  const core::ChallengeAnswer made = f.challenge_answer(f.create_command("Alice@Example.org"));
  CHECK(made.disposition == Disposition::created);
  const core::ChallengeView& c = made.challenge;
  CHECK(c.app == "shop");
  CHECK(c.recipient == "Alice@example.org");
  CHECK(c.purpose == "login");
  CHECK(c.state == ChallengeState::otp_sent);
  CHECK(c.created_at == f.now);
  CHECK(c.expires_at == f.now + 600s);
  CHECK(c.attempts_left == 5);
  CHECK(c.sends_left == 4);
  CHECK(c.resend_at == f.now + 30s);
  CHECK(c.metadata == R"({"order":7})");
  REQUIRE(c.message);
  CHECK(c.message->state == MessageState::queued);
  CHECK(c.message->current);
  CHECK(c.message->not_after == f.now + 540s);
  CHECK(c.message->challenge == c.id);
  CHECK(c.message->template_version == "0123456789abcdef");
  CHECK(f.last.more_queued);
  CHECK(f.last.next_due == f.now + 540s);
  REQUIRE(f.last.changes.size() == 2);

  const core::ChallengeView read = f.view(c.id);
  CHECK(read.revision == c.revision);
  CHECK(read.expires_at == c.expires_at);
  CHECK(read.resend_at == c.resend_at);
  CHECK(read.metadata == c.metadata);
  CHECK(read.message->message_id == c.message->message_id);
  CHECK(f.events(c.message->id) == "challenge.created,message.queued");
}

TEST_CASE("without a mail a challenge is started, and a send makes it otp_sent with the same code") {
  StoreFixture f;
  core::CreateChallenge command = f.create_command();
  command.message.reset();
  const core::ChallengeView made = f.challenge_answer(std::move(command)).challenge;
  CHECK(made.state == ChallengeState::started);
  CHECK(made.sends_left == 5);
  CHECK_FALSE(made.message);
  CHECK(made.resend_at == f.now);
  CHECK_FALSE(f.last.more_queued);
  CHECK(f.check_answer(f.check_command(made.id, f.last_code)).result == core::CheckResult::invalid);

  f.now += 1s;
  const core::ChallengeAnswer sent = f.challenge_answer(f.send_command(made.id));
  CHECK(sent.disposition == Disposition::sent);
  CHECK(sent.challenge.state == ChallengeState::otp_sent);
  CHECK(sent.challenge.expires_at == made.expires_at);
  const auto jobs = f.claim();
  REQUIRE(jobs.size() == 1);
  CHECK(code_in(jobs[0].content) == f.last_code);
  CHECK(jobs[0].content.reveal().find(R"(variables={"name":"Alice"})") != std::string::npos);
  CHECK(jobs[0].content.reveal().find("life=599000") != std::string::npos);
}

TEST_CASE("a resend has the same code and supersedes a mail that has not left") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  f.now += 30s;
  const core::ChallengeAnswer again = f.challenge_answer(f.send_command(made.id));
  CHECK(again.disposition == Disposition::resent);
  CHECK(again.challenge.expires_at == made.expires_at);
  CHECK(again.challenge.sends_left == 3);
  CHECK(again.challenge.attempts_left == 5);
  CHECK(again.challenge.message->id != made.message->id);
  const core::MessageView old = f.message_view(made.message->id);
  CHECK(old.state == MessageState::superseded);
  CHECK_FALSE(old.current);
  const auto jobs = f.claim();
  REQUIRE(jobs.size() == 1);
  CHECK(jobs[0].key.message == again.challenge.message->id);
  CHECK(code_in(jobs[0].content) == f.last_code);
  CHECK(f.check_answer(f.check_command(made.id, f.last_code)).result == core::CheckResult::valid);
}

TEST_CASE("a resend of a mail that has left leaves it be") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  auto jobs = f.claim();
  f.done(f.fact(core::JobRelayed{jobs[0].key, {250, "2.0.0", "ok"}}));
  f.now += 30s;
  (void)f.challenge_answer(f.send_command(made.id));
  CHECK(f.message_view(made.message->id).state == MessageState::relayed);
}

TEST_CASE("with fresh codes a resend kills the old one") {
  StoreFixture f;
  core::CreateChallenge command = f.create_command();
  command.terms.resend = core::ResendMode::fresh;
  const core::ChallengeView made = f.challenge_answer(std::move(command)).challenge;
  const std::string old_code = f.last_code;
  CHECK(Database(f.database_path()).value("SELECT kept_code FROM challenge") == "NULL");
  f.now += 30s;
  (void)f.challenge_answer(f.send_command(made.id));
  const auto jobs = f.claim();
  REQUIRE(jobs.size() == 1);
  const std::string new_code = code_in(jobs[0].content);
  CHECK(new_code.size() == 10);
  CHECK(new_code != old_code);
  CHECK(f.check_answer(f.check_command(made.id, old_code)).result == core::CheckResult::invalid);
  CHECK(f.check_answer(f.check_command(made.id, new_code)).result == core::CheckResult::valid);
}

TEST_CASE("a send too early is refused with the time to wait and the limit") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  f.now += 10s;
  const core::Refusal refused = f.refusal(f.send_command(made.id));
  CHECK(refused.kind == RefusalKind::resend_cooldown);
  CHECK(refused.retry_after == 20s);
  REQUIRE(refused.limit);
  CHECK(refused.limit->max == 1);
  CHECK(refused.limit->period == 30s);
  CHECK(refused.limit->reset_at == made.created_at + 30s);
}

TEST_CASE("the last send is the last") {
  StoreFixture f;
  core::CreateChallenge command = f.create_command();
  command.terms.max_sends = 2;
  const core::ChallengeView made = f.challenge_answer(std::move(command)).challenge;
  f.now += 30s;
  const core::ChallengeView last = f.challenge_answer(f.send_command(made.id)).challenge;
  CHECK(last.sends_left == 0);
  CHECK_FALSE(last.resend_at);
  f.now += 30s;
  const core::Refusal refused = f.refusal(f.send_command(made.id));
  CHECK(refused.kind == RefusalKind::sends_exhausted);
  REQUIRE(refused.limit);
  CHECK(refused.limit->max == 2);
}

TEST_CASE("sends and cancels of what is not there, another app's or closed are refused") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  CHECK(f.refusal(f.send_command(f.ids.next(f.now))).kind == RefusalKind::not_found);
  core::SendChallenge foreign = f.send_command(made.id);
  foreign.app = "other";
  CHECK(f.refusal(std::move(foreign)).kind == RefusalKind::not_found);
  core::CancelChallenge foreign_cancel = f.cancel_command(made.id);
  foreign_cancel.app = "other";
  CHECK(f.refusal(std::move(foreign_cancel)).kind == RefusalKind::not_found);
  CHECK(f.check_answer(f.check_command(made.id, f.last_code)).result == core::CheckResult::valid);
  f.now += 30s;
  CHECK(f.refusal(f.send_command(made.id)).kind == RefusalKind::challenge_closed);
  CHECK(f.refusal(f.cancel_command(made.id)).kind == RefusalKind::challenge_closed);
}

TEST_CASE("a resend whose template is gone or fails is refused with where") {
  StoreFixture f;
  const char* name = GENERATE("missing", "broken");
  core::CreateChallenge command = f.create_command();
  command.template_name = name;
  const core::ChallengeView made = f.challenge_answer(std::move(command)).challenge;
  f.now += 30s;
  Database db(f.database_path());
  const std::string before = db.dump();
  const core::Refusal refused = f.refusal(f.send_command(made.id));
  if (std::string(name) == "missing") {
    CHECK(refused.kind == RefusalKind::template_unknown);
    CHECK(refused.field == "template");
  } else {
    CHECK(refused.kind == RefusalKind::template_failed);
    CHECK(refused.field == "data.name");
    CHECK(refused.detail == "name is missing");
  }
  CHECK(db.dump() == before);
}

TEST_CASE("a cancel ends the unsent mail, and a second one answers the same") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  const core::ChallengeAnswer canceled = f.challenge_answer(f.cancel_command(made.id));
  CHECK(canceled.disposition == Disposition::canceled);
  CHECK(canceled.challenge.state == ChallengeState::canceled);
  CHECK(canceled.challenge.message->state == MessageState::canceled);
  CHECK_FALSE(f.last.more_queued);
  CHECK_FALSE(f.last.next_due);
  const core::ChallengeAnswer again = f.challenge_answer(f.cancel_command(made.id));
  CHECK(again.challenge.revision == canceled.challenge.revision);
  CHECK(f.claim().empty());
  CHECK(f.stats().ended_total.at("canceled") == 1);
}

TEST_CASE("the short form sends the open challenge again") {
  StoreFixture f;
  core::CreateChallenge first = f.create_command("alice@example.org");
  first.reuse = core::CreateChallenge::Reuse::open_one;
  const core::ChallengeView made = f.challenge_answer(std::move(first)).challenge;
  const std::string code = f.last_code;
  f.now += 5s;
  core::CreateChallenge early = f.create_command("ALICE@example.org");
  early.reuse = core::CreateChallenge::Reuse::open_one;
  CHECK(f.refusal(std::move(early)).kind == RefusalKind::resend_cooldown);
  f.now += 30s;
  core::CreateChallenge second = f.create_command("ALICE@example.org");
  second.reuse = core::CreateChallenge::Reuse::open_one;
  const core::Id message = second.message->id;
  const core::ChallengeAnswer again = f.challenge_answer(std::move(second));
  CHECK(again.disposition == Disposition::resent);
  CHECK(again.challenge.id == made.id);
  CHECK(again.challenge.message->id == message);
  const auto jobs = f.claim();
  REQUIRE(jobs.size() == 1);
  CHECK(code_in(jobs[0].content) == code);
}

TEST_CASE("the short form makes a new challenge for another purpose, app or when the old one ended") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  f.now += 30s;
  core::CreateChallenge other = f.create_command();
  other.reuse = core::CreateChallenge::Reuse::open_one;
  SECTION("purpose") {
    other.purpose = "signup";
  }
  SECTION("app") {
    other.app = "other";
  }
  SECTION("recipient") {
    other.recipient.local = "bob";
  }
  SECTION("canceled") {
    (void)f.challenge_answer(f.cancel_command(made.id));
  }
  SECTION("time is up") {
    f.now = made.expires_at;
    other.at = f.now;
  }
  const core::ChallengeAnswer answer = f.challenge_answer(std::move(other));
  CHECK(answer.disposition == Disposition::created);
  CHECK(answer.challenge.id != made.id);
}

TEST_CASE("the short form replaces a challenge with too little life left") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  f.now = made.expires_at - 59s;
  core::CreateChallenge again = f.create_command();
  again.reuse = core::CreateChallenge::Reuse::open_one;
  const core::ChallengeAnswer answer = f.challenge_answer(std::move(again));
  CHECK(answer.disposition == Disposition::created);
  CHECK(f.view(made.id).state == ChallengeState::canceled);
}

TEST_CASE("nothing more is sent when the outbox is full, and a challenge without a mail is still made") {
  StoreFixture f;
  f.close();
  f.max_open_messages = 2;
  f.open();
  const core::ChallengeView first = f.created();
  (void)f.created("b@example.org");
  CHECK(f.refusal(f.create_command("c@example.org")).kind == RefusalKind::overloaded);
  f.now += 30s;
  CHECK(f.refusal(f.send_command(first.id)).kind == RefusalKind::overloaded);
  core::CreateChallenge quiet = f.create_command("d@example.org");
  quiet.message.reset();
  (void)f.challenge_answer(std::move(quiet));
  (void)f.challenge_answer(f.cancel_command(first.id));
  (void)f.created("c@example.org");
}

TEST_CASE("a sweep expires challenges and their unsent mails") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  f.now = made.expires_at - 1ms;
  f.done(core::Sweep{f.now});
  CHECK(f.view(made.id).state == ChallengeState::otp_sent);
  CHECK(f.view(made.id).message->state == MessageState::expired);  // at not_after
  CHECK(f.last.next_due == made.expires_at);
  f.now = made.expires_at;
  f.done(core::Sweep{f.now});
  CHECK(f.view(made.id).state == ChallengeState::expired);
  CHECK_FALSE(f.last.next_due);
  CHECK(f.stats().challenges.at("expired") == 1);
  CHECK(f.stats().challenges.at("otp_sent") == 0);
}

TEST_CASE("a sweep takes at most its limit and says when to come again") {
  StoreFixture f;
  for (int i = 0; i < 5; ++i)
    (void)f.created("user" + std::to_string(i) + "@example.org");
  f.now += 700s;
  f.done(core::Sweep{f.now, 2});
  // Two for their own time, two more with the two messages whose time was up.
  CHECK(f.stats().challenges.at("expired") == 4);
  CHECK(f.stats().messages.at("expired") == 4);
  REQUIRE(f.last.next_due);
  CHECK(*f.last.next_due < f.now);
  f.done(core::Sweep{f.now, 200});
  CHECK(f.stats().challenges.at("expired") == 5);
  CHECK(f.stats().messages.at("expired") == 5);
  CHECK_FALSE(f.last.next_due);
}

}  // namespace mailotp::store::test
