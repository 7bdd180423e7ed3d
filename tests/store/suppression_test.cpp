// Dead addresses: refused, probed, healed; one app's evidence is that app's alone.
#include <catch2/catch.hpp>

#include "tests/store/bounce_fixture.h"

namespace mailotp::store::test {

using namespace std::chrono_literals;
using core::BounceClass;
using core::BounceKind;
using core::Deliverable;
using core::MailFate;
using core::MessageState;
using core::RefusalKind;

namespace {

struct SuppressionFixture : BounceFixture {
  // Relayed, and bounced as a user unknown.
  void bounce(const std::string& mailbox = "alice@example.org", const std::string& app = "shop") {
    const core::Id id = relayed(mailbox, app).message->id;
    REQUIRE(file(about(id)) == MailFate::processed);
  }
  core::CreateChallenge probing() {
    core::CreateChallenge command = create_command();
    command.suppressed = core::SuppressedUse::probe;
    return command;
  }
  core::Refusal refused(const std::string& mailbox = "alice@example.org") {
    core::Refusal out = refusal(create_command(mailbox));
    CHECK(out.kind == RefusalKind::recipient_suppressed);
    REQUIRE(out.suppression);
    return out;
  }
  // A probe that a relay has taken.
  core::ChallengeView probed() {
    core::ChallengeView made = challenge_answer(probing()).challenge;
    const auto jobs = claim(1);
    REQUIRE(jobs.size() == 1);
    done(fact(core::JobRelayed{jobs[0].key, {250, "2.0.0", "ok"}}));
    return made;
  }
  void sweep() { done(core::Sweep{now}); }
  core::PutSuppression put(const std::string& mailbox = "alice@example.org") {
    core::PutSuppression out;
    out.at = now;
    out.address = *core::parse_address(mailbox);
    out.bounce_class = BounceClass::user_unknown;
    out.actor = {core::ActorKind::operator_, 0};
    return out;
  }
  core::CreateMessage templated(const std::string& mailbox = "alice@example.org") {
    core::CreateMessage out;
    out.at = now;
    out.id = ids.next(now);
    out.app = "shop";
    out.recipient = *core::parse_address(mailbox);
    out.template_name = "welcome";
    out.not_after = now + 24h;
    out.mail = core::ComposedMail{core::Secret("mail"), "<1@test>", "0123456789abcdef", "en"};
    return out;
  }
};

}  // namespace

TEST_CASE("a suppressed address is refused by every way that would send, and writes nothing") {
  SuppressionFixture f;
  const core::ChallengeView open = f.relayed();
  REQUIRE(f.file(f.about(open.message->id)) == MailFate::processed);
  Database db(f.database_path());
  const std::string before = db.dump();
  const core::Refusal refusal = f.refused();
  CHECK(refusal.suppression->bounce_class == BounceClass::user_unknown);
  CHECK(refusal.suppression->until == f.now + 1h);
  CHECK(refusal.suppression->probe_at == f.now);
  CHECK(refusal.suppression->address == "alice@example.org");
  CHECK(refusal.suppression->app == "shop");
  CHECK_FALSE(refusal.suppression->by_operator);
  (void)f.refused("ALICE@example.org");
  CHECK(f.refusal(f.templated()).kind == RefusalKind::recipient_suppressed);
  // Also within the cooldown: it is the better news.
  CHECK(f.refusal(f.send_command(open.id)).kind == RefusalKind::recipient_suppressed);
  core::CreateChallenge again = f.create_command();
  again.reuse = core::CreateChallenge::Reuse::open_one;
  CHECK(f.refusal(std::move(again)).kind == RefusalKind::recipient_suppressed);
  CHECK(db.dump() == before);
  // What sends nothing is not refused; what is over says so.
  core::CreateChallenge unsent = f.create_command();
  unsent.message.reset();
  (void)f.challenge_answer(std::move(unsent));
  (void)f.challenge_answer(f.cancel_command(open.id));
  CHECK(f.refusal(f.send_command(open.id)).kind == RefusalKind::challenge_closed);
  (void)f.created("bob@example.org");
}

TEST_CASE("an app's evidence suppresses that app's mail only") {
  SuppressionFixture f;
  f.bounce("alice@example.org", "bank");
  CHECK(f.suppressed("alice@example.org", "bank"));
  CHECK_FALSE(f.suppressed("alice@example.org", "shop"));
  CHECK(f.recipient("alice@example.org", "shop").deliverable == Deliverable::unknown);
  CHECK_FALSE(f.recipient("alice@example.org", "shop").last_verdict);
  const core::ChallengeView made = f.created();
  // … and proof through one app heals nothing of another.
  (void)f.claim(1);
  CHECK(f.check_answer(f.check_command(made.id, f.last_code)).result == core::CheckResult::valid);
  CHECK(f.suppressed("alice@example.org", "bank"));
  CHECK(f.recipient("alice@example.org", "shop").deliverable == Deliverable::yes);
  // An operator sees both.
  CHECK(f.recipient("alice@example.org", "").suppressed);
  CHECK(f.recipient("alice@example.org", "").deliverable == Deliverable::no);
}

TEST_CASE("two words of two apps are not two of one") {
  SuppressionFixture f;
  const core::Id shop = f.relayed("alice@example.org", "shop").message->id;
  const core::Id bank = f.relayed("alice@example.org", "bank").message->id;
  (void)f.file(f.about(shop, BounceClass::host_unknown));
  (void)f.file(f.about(bank, BounceClass::host_unknown));
  CHECK(f.suppressions().empty());
  f.now += 1min;
  const core::Id second = f.relayed("alice@example.org", "shop").message->id;
  (void)f.file(f.about(second, BounceClass::host_unknown));
  REQUIRE(f.suppressions().size() == 1);
  CHECK(f.suppressions()[0].app == "shop");
  CHECK(f.suppressions()[0].bounce_class == BounceClass::host_unknown);
}

TEST_CASE("each time in a row it is longer; a late bounce of the same wave is no new time") {
  SuppressionFixture f;
  const core::Id early = f.relayed().message->id;
  f.now += 1min;
  f.bounce();
  for (const auto& [length, times] : std::vector<std::pair<core::Millis, int>>{
           {1h, 1}, {24h, 2}, {7 * 24h, 3}, {30 * 24h, 4}, {30 * 24h, 5}}) {
    CAPTURE(times);
    const auto list = f.suppressions();
    REQUIRE(list.size() == 1);
    CHECK(list[0].until == f.now + length);
    CHECK(list[0].since == f.now);
    CHECK(list[0].times == times);
    if (times == 1) {
      (void)f.file(f.about(early));
      CHECK(f.suppressions()[0].times == 1);
    }
    f.now += length - 1ms;
    (void)f.refused();
    f.now += 1ms;
    CHECK(f.suppressions().empty());
    f.bounce();
  }
  CHECK(f.stats().suppressed_total == 6);
}

TEST_CASE("what has not left to a dead address ends, its app's alone; what is being sent is not repeated") {
  SuppressionFixture f;
  const core::Id bounced = f.relayed().message->id;
  f.now += 1min;
  const core::ChallengeView deferred = f.created();
  auto jobs = f.claim(1);
  f.done(f.fact(core::JobRefused{jobs[0].key, core::Stage::rcpt, {451, "4.3.0", "busy"}}));
  const core::ChallengeView sending = f.created();
  jobs = f.claim(1);
  REQUIRE(jobs.size() == 1);
  const core::ChallengeView queued = f.created();
  const core::ChallengeView of_bank = f.sent_by("alice@example.org", "bank");
  const core::ChallengeView of_bob = f.created("bob@example.org");
  CHECK(f.file(f.about(bounced)) == MailFate::processed);
  CHECK(f.told(queued.message->id) == "suppressed user-unknown");
  CHECK(f.told(deferred.message->id) == "suppressed user-unknown");
  CHECK(f.message_view(queued.message->id).verdict->source == core::VerdictSource::policy);
  CHECK(f.view(queued.id).revision > queued.revision);
  CHECK(f.told(of_bank.message->id) == "queued");
  CHECK(f.told(of_bob.message->id) == "queued");
  CHECK(f.told(sending.message->id) == "sending");
  f.done(f.fact(core::JobNotSent{jobs[0].key, core::Stage::connect, "refused", {}}));
  CHECK(f.told(sending.message->id) == "suppressed policy");
  CHECK(f.stats().ended_total.at("suppressed") == 3);
  Database db(f.database_path());
  CHECK(db.value("SELECT count(*) FROM message_body") == "2");
}

TEST_CASE("a user who confirms the address gets one mail a day through") {
  SuppressionFixture f;
  f.bounce();
  f.now += 1min;
  const core::ChallengeView probe = f.challenge_answer(f.probing()).challenge;
  CHECK(f.told(probe.message->id) == "queued");
  const core::Refusal again = f.refusal(f.probing());
  CHECK(again.kind == RefusalKind::recipient_suppressed);
  CHECK(again.suppression->probe_at == f.now + 24h);
  // It bounces: longer, and the next probe is a day after this one.
  const auto jobs = f.claim(1);
  f.done(f.fact(core::JobRelayed{jobs[0].key, {250, "2.0.0", "ok"}}));
  f.now += 1min;
  CHECK(f.file(f.about(probe.message->id)) == MailFate::processed);
  REQUIRE(f.suppressions().size() == 1);
  CHECK(f.suppressions()[0].times == 2);
  CHECK(f.suppressions()[0].probe_at == f.now - 1min + 24h);
  f.now += 1h;
  f.sweep();
  CHECK(f.refusal(f.probing()).kind == RefusalKind::recipient_suppressed);
}

TEST_CASE("a probe through the short form, and none through a plain resend") {
  SuppressionFixture f;
  f.bounce();
  f.now += 1min;
  core::CreateChallenge command = f.probing();
  command.reuse = core::CreateChallenge::Reuse::open_one;
  const core::ChallengeAnswer answer = f.challenge_answer(std::move(command));
  CHECK(answer.disposition == core::Disposition::resent);
  f.now += 24h + 1min;
  CHECK(f.suppressions().empty());
}

TEST_CASE("a probe that was relayed and has not bounced for ten minutes heals, and the sweep is in time") {
  SuppressionFixture f;
  f.bounce();
  f.now += 1min;
  const core::ChallengeView probe = f.challenge_answer(f.probing()).challenge;
  const auto jobs = f.claim(1);
  f.now += 9min;
  f.done(f.fact(core::JobRelayed{jobs[0].key, {250, "2.0.0", "ok"}}));
  f.now += 1min;  // ten minutes after it was asked for, one after it was relayed
  f.sweep();
  CHECK(f.suppressed());
  const core::WallTime due = f.now + 9min;
  f.last = f.commit({});
  REQUIRE(f.last.next_due);
  CHECK(*f.last.next_due <= due);
  f.now = due - 1ms;
  f.sweep();
  CHECK(f.suppressed());
  f.now = due;
  f.sweep();
  CHECK_FALSE(f.suppressed());
  // That nothing came back is no proof.
  CHECK(f.recipient().deliverable == Deliverable::unknown);
  CHECK(f.events(probe.message->id).find("recipient.healed") != std::string::npos);
  // Healed is forgotten: the next time is a first one.
  f.bounce();
  CHECK(f.suppressions()[0].times == 1);
}

TEST_CASE("a probe that ends in any other way heals nothing") {
  SuppressionFixture f;
  f.bounce();
  f.now += 1min;
  SECTION("late") {
    const core::ChallengeView probe = f.probed();
    (void)f.file(f.about(probe.message->id, BounceClass::expired, BounceKind::delay));
  }
  SECTION("bounced for another reason") {
    const core::ChallengeView probe = f.probed();
    (void)f.file(f.about(probe.message->id, BounceClass::mailbox_full));
  }
  SECTION("uncertain") {
    (void)f.challenge_answer(f.probing());
    const auto jobs = f.claim(1);
    f.done(f.fact(core::JobUncertain{jobs[0].key, "cut"}));
  }
  SECTION("not sent") {
    (void)f.challenge_answer(f.probing());
  }
  for (int i = 0; i < 55; ++i) {
    f.now += 1min;
    f.sweep();
  }
  CHECK(f.suppressed());
  f.now += 24h;
  f.sweep();
  Database db(f.database_path());
  CHECK(db.value("SELECT count(*) FROM suppression WHERE check_at IS NOT NULL") == "0");
}

TEST_CASE("a right code heals, a wrong one does not") {
  SuppressionFixture f;
  const core::ChallengeView made = f.relayed();
  const std::string code = f.last_code;
  REQUIRE(f.file(f.about(made.message->id)) == MailFate::processed);
  CHECK(f.recipient().deliverable == Deliverable::no);
  (void)f.check_answer(f.check_command(made.id, "0000000000"));
  CHECK(f.suppressed());
  CHECK(f.check_answer(f.check_command(made.id, code)).result == core::CheckResult::valid);
  CHECK_FALSE(f.suppressed());
  CHECK(f.recipient().deliverable == Deliverable::yes);
  CHECK(f.recipient().last_verdict);  // it was said all the same
  (void)f.created();
  // A later failure outweighs the proof.
  f.now += 1min;
  (void)f.claim(1);
  f.bounce();
  CHECK(f.recipient().deliverable == Deliverable::no);
}

TEST_CASE("a report of success heals") {
  SuppressionFixture f;
  const core::Id delivered = f.relayed().message->id;
  f.bounce();
  CHECK(f.suppressed());
  CHECK(f.file(f.about(delivered, BounceClass::unknown, BounceKind::success)) == MailFate::processed);
  CHECK_FALSE(f.suppressed());
  CHECK(f.recipient().deliverable == Deliverable::yes);
}

TEST_CASE("an operator's suppression holds for all apps, for ever or until its end") {
  SuppressionFixture f;
  const core::ChallengeView made = f.relayed();
  const core::ChallengeView waiting = f.created();
  core::PutSuppression put = f.put();
  SECTION("without an end") {
    const core::Outcome outcome = f.run(put);
    REQUIRE(outcome);
    const core::SuppressionView view = std::get<core::SuppressionAnswer>(*outcome).suppression;
    CHECK(view.by_operator);
    CHECK_FALSE(view.until);
    CHECK_FALSE(view.probe_at);
    CHECK(f.told(waiting.message->id) == "suppressed user-unknown");
    // Neither a probe nor a proof is asked.
    CHECK(f.refusal(f.probing()).kind == RefusalKind::recipient_suppressed);
    core::CreateChallenge of_bank = f.probing();
    of_bank.app = "bank";
    CHECK(f.refusal(std::move(of_bank)).kind == RefusalKind::recipient_suppressed);
    CHECK(f.refused().suppression->by_operator);
    (void)f.file(f.about(made.message->id, BounceClass::unknown, BounceKind::success));
    f.now += 365 * 24h;
    CHECK(f.suppressed());
    f.run(core::Purge{f.now, 100});
    CHECK(f.suppressed());
  }
  SECTION("with an end") {
    put.until = f.now + 2h;
    (void)f.run(put);
    CHECK(f.refused().suppression->until == f.now + 2h);
    f.now += 2h;
    (void)f.created();
  }
}

TEST_CASE("an operator removes what holds for an address, of whatever app and class") {
  SuppressionFixture f;
  f.bounce("alice@example.org", "bank");
  f.bounce("alice@example.org", "shop");
  (void)f.run(f.put());
  (void)f.run(f.put("stranger@example.org"));
  CHECK(f.suppressions().size() == 4);
  CHECK(f.suppressions("alice@example.org").size() == 3);
  const auto drop = [&](const std::string& mailbox) {
    return core::DropSuppression{f.now, *core::parse_address(mailbox), {core::ActorKind::operator_, 0}};
  };
  f.done(drop("Alice@example.org"));
  f.done(drop("stranger@example.org"));
  CHECK(f.suppressions().empty());
  CHECK(f.recipient().deliverable == Deliverable::unknown);
  (void)f.created();
  CHECK(f.refusal(drop("alice@example.org")).kind == RefusalKind::not_found);
  CHECK(f.refusal(drop("nobody@example.org")).kind == RefusalKind::not_found);
  // Of one that no mail went to no more is left than what its timeline tells, until that is purged.
  Database db(f.database_path());
  const std::string strangers = "SELECT count(*) FROM recipient WHERE key LIKE 'stranger%'";
  CHECK(db.value("SELECT count(*) FROM event WHERE recipient IN (SELECT id FROM recipient WHERE key LIKE "
                 "'stranger%')") == "2");
  CHECK(db.value(strangers) == "1");
  f.now += f.retention.events + 1s;
  (void)f.run(core::Purge{f.now, 200});
  CHECK(db.value(strangers) == "0");
}

TEST_CASE(
    "an idempotent repeat of an accepted request is answered although the address is suppressed since") {
  SuppressionFixture f;
  core::CreateChallenge command = f.create_command();
  const auto once = [] {
    core::Once out;
    out.key = "k";
    out.request = core::Secret("POST");
    out.keep = [](const core::Answer&) { return core::KeptAnswer{201, "/x", core::Secret("{}")}; };
    return out;
  };
  command.once = once();
  const core::Id id = f.challenge_answer(std::move(command)).challenge.message->id;
  const auto jobs = f.claim(1);
  f.done(f.fact(core::JobRelayed{jobs[0].key, {250, "2.0.0", "ok"}}));
  REQUIRE(f.file(f.about(id)) == MailFate::processed);
  core::CreateChallenge repeat = f.create_command();
  repeat.once = once();
  const core::Outcome outcome = f.run(std::move(repeat));
  REQUIRE(outcome);
  CHECK(std::holds_alternative<core::KeptAnswer>(*outcome));
}

TEST_CASE("a shift of the clock moves what is to come of a suppression, and nothing else") {
  const core::Millis by = GENERATE(core::Millis{3 * 3'600'000}, core::Millis{-3 * 3'600'000});
  SuppressionFixture f;
  f.bounce("old@example.org");
  f.now += 2h;
  f.bounce();
  (void)f.run(f.put("endless@example.org"));
  f.now += 1min;
  (void)f.probed();
  Database db(f.database_path());
  const auto times = [&](const std::string& mailbox, const std::string& column) {
    return std::stoll(db.value("SELECT " + column + " FROM suppression WHERE mailbox = '" + mailbox + "'"));
  };
  const auto old = times("old@example.org", "until");
  const auto until = times("alice@example.org", "until");
  const auto probe = times("alice@example.org", "probe_at");
  const auto check = times("alice@example.org", "check_at");
  f.done(core::ShiftClock{f.now, by, {"boot", core::Millis{1}}});
  CHECK(times("old@example.org", "until") == old);
  CHECK(times("alice@example.org", "until") == until + by.count());
  CHECK(times("alice@example.org", "probe_at") == probe + by.count());
  CHECK(times("alice@example.org", "check_at") == check + by.count());
  CHECK(times("endless@example.org", "until") == core::to_unix_ms(core::k_never));
  // None began in the future: the mails of now would be older than it, and never make it longer.
  CHECK(times("alice@example.org", "since") <= core::to_unix_ms(f.now + by));
}

TEST_CASE("retention: the ledger, known mails, levels and evidence go together; totals stay") {
  SuppressionFixture f;
  f.close();
  f.retention.bounces = core::Seconds{24 * 3600};
  f.retention.challenges = f.retention.messages = f.retention.events = core::Seconds{3600};
  f.open();
  f.bounce();
  f.now += 1h;
  const auto purge = [&] {
    while (true) {
      const core::Outcome outcome = f.run(core::Purge{f.now, 3});
      REQUIRE(outcome);
      if (std::get<core::Purged>(*outcome).rows == 0) return;
    }
  };
  Database db(f.database_path());
  const auto left = [&] {
    std::string out;
    for (const char* table : {"bounce", "mail", "suppression", "evidence", "recipient"})
      out += db.value(std::string("SELECT count(*) FROM ") + table);
    return out;
  };
  f.now += 23h - 1ms;  // over for 23 h, a day in the ledger but for a moment
  f.sweep();
  purge();
  CHECK(left() == "11111");
  f.now += 1ms;
  purge();
  CHECK(left() == "00101");
  f.now += 1h;
  purge();
  CHECK(left() == "00000");
  CHECK(f.stats().bounces.at("user-unknown") == 1);
}

}  // namespace mailotp::store::test
