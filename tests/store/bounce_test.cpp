// From a mail in the bounce mailbox to what the login page is told: correlation, verdict, ledger.
#include <catch2/catch.hpp>

#include "tests/store/bounce_fixture.h"

namespace mailotp::store::test {

using namespace std::chrono_literals;
using core::BounceClass;
using core::BounceKind;
using core::MailFate;
using core::TracedBy;
using core::VerdictWeight;

namespace {

core::BounceFilter of_recipient(const std::string& mailbox) {
  core::BounceFilter out;
  out.recipient = mailbox;
  return out;
}
core::BounceFilter of_app(const std::string& app) {
  core::BounceFilter out;
  out.app = app;
  return out;
}
core::BounceFilter of_kind(BounceKind kind) {
  core::BounceFilter out;
  out.kind = kind;
  return out;
}
core::BounceFilter of_class(BounceClass bounce_class) {
  core::BounceFilter out;
  out.bounce_class = bounce_class;
  return out;
}
core::BounceFilter of_message(const core::Id& message) {
  core::BounceFilter out;
  out.message = message;
  return out;
}

}  // namespace

TEST_CASE("a bounce with the message's token: message, challenge, ledger, evidence and suppression at once") {
  BounceFixture f;
  const core::ChallengeView made = f.relayed();
  const core::Id id = made.message->id;
  const std::uint64_t revision = f.view(made.id).revision;
  f.now += 2s;
  CHECK(f.file(f.about(id)) == MailFate::processed);
  REQUIRE(f.last.bounces.size() == 1);
  CHECK(f.last.bounces[0].relay == "primary");
  REQUIRE(f.last.changes.size() == 1);
  CHECK(f.last.changes[0].challenge == made.id);

  const core::ChallengeView now = f.view(made.id);
  CHECK(now.state == core::ChallengeState::otp_sent);  // open: a right code is accepted, and heals
  CHECK(now.revision > revision);
  CHECK(now.message->state == core::MessageState::bounced);
  REQUIRE(now.message->verdict);
  const core::Verdict& verdict = *now.message->verdict;
  CHECK(verdict.kind == core::VerdictKind::undeliverable);
  CHECK(verdict.verdict_class == "user-unknown");
  CHECK(verdict.permanent);
  CHECK(verdict.status == "5.1.1");
  CHECK(verdict.source == core::VerdictSource::dsn);
  CHECK(verdict.at == f.now);

  const auto ledger = f.bounces();
  REQUIRE(ledger.size() == 1);
  CHECK(ledger[0].message == id);
  CHECK(ledger[0].app == "shop");
  CHECK(ledger[0].recipient == "alice@example.org");
  CHECK(ledger[0].traced_by == TracedBy::message_token);
  CHECK(ledger[0].weight == VerdictWeight::hard);
  CHECK(ledger[0].rule == "dsn-fields");
  const core::RecipientView known = f.recipient();
  CHECK(known.deliverable == core::Deliverable::no);
  REQUIRE(known.suppressed);
  CHECK(known.suppressed->bounce_class == BounceClass::user_unknown);
  CHECK(known.suppressed->until == f.now + 1h);
  CHECK(known.last_verdict == verdict);
  CHECK(f.stats().bounces == std::map<std::string, std::int64_t>{{"user-unknown", 1}});
  CHECK(f.events(id) ==
        "challenge.created,message.queued,message.relayed,recipient.reported,message.bounced,"
        "recipient.suppressed");
}

TEST_CASE("which tokens trace a bounce, and which do not") {
  BounceFixture f;
  const core::Id id = f.relayed().message->id;
  const core::Id other = f.relayed("bob@example.org").message->id;
  const std::string token = f.tokens.message(id);
  const std::string verp = f.verp_of("alice@example.org", f.now);
  const std::string of_bob = f.verp_of("bob@example.org", f.now);

  struct Line {
    const char* what;
    std::vector<std::string> envids;
    std::vector<std::string> headers;
    std::vector<std::string> tags;
    TracedBy by;
    bool verdict;
    bool hard;
  };
  const std::string old = f.verp_of("alice@example.org", f.now - 20 * 24h);
  const std::string last_epoch = f.verp_of("alice@example.org", f.now - 10 * 24h);
  const std::string coming = f.verp_of("alice@example.org", f.now + 10 * 24h);
  const std::string wrong = verp.substr(0, verp.size() - 1) + (verp.back() == '1' ? "2" : "1");
  const std::string unknown = f.tokens.recipient(999, "alice@example.org", f.now);
  for (const Line& line : std::vector<Line>{
           {"no token", {}, {}, {}, TracedBy::nothing, false, false},
           {"envelope id", {token}, {}, {}, TracedBy::message_token, true, true},
           {"header", {}, {token}, {}, TracedBy::message_token, true, true},
           {"message's return path", {}, {}, {token}, TracedBy::message_token, true, true},
           {"recipient's return path", {}, {}, {verp}, TracedBy::recipient_token, true, false},
           {"of the last epoch", {}, {}, {last_epoch}, TracedBy::recipient_token, true, false},
           {"both, agreeing", {token}, {}, {verp}, TracedBy::both, true, true},
           {"too old", {}, {}, {old}, TracedBy::nothing, false, false},
           {"of a time to come", {}, {}, {coming}, TracedBy::nothing, false, false},
           {"not confirmed", {}, {}, {wrong}, TracedBy::nothing, false, false},
           {"of nobody", {}, {}, {unknown}, TracedBy::nothing, false, false},
           {"no token at all", {"0190b5a0"}, {"m12"}, {"list"}, TracedBy::nothing, false, false},
           {"contradictory recipient", {token}, {}, {of_bob}, TracedBy::both, false, false},
           {"contradictory messages",
            {token, f.tokens.message(other)},
            {},
            {},
            TracedBy::message_token,
            false,
            false},
           {"contradictory return paths", {}, {}, {verp, of_bob}, TracedBy::recipient_token, false, false},
       }) {
    DYNAMIC_SECTION(line.what) {
      core::MailRead mail = f.mail(BounceKind::bounce);
      mail.report.envids = line.envids;
      mail.report.headers = line.headers;
      mail.tags = line.tags;
      CHECK(f.file(mail) == MailFate::processed);
      const auto ledger = f.bounces();
      REQUIRE(ledger.size() == 1);
      CHECK(ledger[0].traced_by == line.by);
      CHECK(ledger[0].message.has_value() == line.verdict);
      CHECK(f.told(id) == (line.verdict ? "bounced user-unknown" : "relayed"));
      CHECK(f.told(other) == "relayed");
      CHECK(f.suppressed() == line.hard);
      CHECK_FALSE(f.suppressed("bob@example.org"));
      CHECK(ledger[0].weight == (line.hard      ? VerdictWeight::hard
                                 : line.verdict ? VerdictWeight::soft
                                                : VerdictWeight::none));
      const bool contradictory = std::string(line.what).starts_with("contradictory");
      Database db(f.database_path());
      CHECK(db.rows("SELECT value FROM counter WHERE name = 'contradictory_total'") ==
            (contradictory ? std::vector<std::string>{"1"} : std::vector<std::string>{}));
    }
  }
}

TEST_CASE("a forged bounce changes nothing but the ledger") {
  BounceFixture f;
  (void)f.relayed();
  Database db(f.database_path());
  const auto rest = [&] {
    std::string out;
    for (const char* table :
         {"challenge", "message", "message_body", "event", "suppression", "evidence", "recipient"})
      for (const std::string& row : db.rows(std::string("SELECT * FROM ") + table))
        out += row + "\n";
    return out;
  };
  const std::string before = rest();
  for (const BounceClass bounce_class : {BounceClass::user_unknown, BounceClass::host_unknown})
    CHECK(f.file(f.mail(BounceKind::bounce, bounce_class)) == MailFate::processed);
  CHECK(f.file(f.mail(BounceKind::success)) == MailFate::processed);
  CHECK(rest() == before);
  CHECK(f.last.changes.empty());
  // Listed under the address that it names, and under no app.
  CHECK(f.bounces(of_recipient("alice@example.org")).size() == 3);
  CHECK(f.bounces(of_app("shop")).empty());
}

TEST_CASE("a verdict needs a mail that left within ten days") {
  BounceFixture f;
  const core::Id id = f.relayed().message->id;
  SECTION("almost") {
    f.now += 10 * 24h - 1s;
    CHECK(f.file(f.about(id)) == MailFate::processed);
    CHECK(f.told(id) == "bounced user-unknown");
    CHECK(f.suppressed());
  }
  SECTION("too late") {
    f.now += 10 * 24h;
    CHECK(f.file(f.about(id)) == MailFate::processed);
    CHECK(f.told(id) == "relayed");
    CHECK_FALSE(f.suppressed());
    CHECK(f.bounces()[0].weight == VerdictWeight::none);
  }
  SECTION("its row is gone") {
    Database(f.database_path()).run("DELETE FROM message");
    CHECK(f.file(f.about(id)) == MailFate::processed);
    CHECK(f.bounces()[0].message == id);
    CHECK(f.bounces()[0].app.empty());
  }
  SECTION("it has not left") {
    const core::Id unsent = f.created("carol@example.org").message->id;
    CHECK(f.file(f.about(unsent)) == MailFate::processed);
    CHECK(f.told(unsent) == "queued");
    CHECK_FALSE(f.suppressed("carol@example.org"));
  }
}

TEST_CASE("a bounce that names another domain, where it was forwarded: ours is kept") {
  BounceFixture f;
  const core::Id id = f.relayed().message->id;
  core::MailRead mail = f.about(id);
  mail.report.recipients[0].address = "alice@elsewhere.example";
  CHECK(f.file(mail) == MailFate::processed);
  CHECK(f.bounces()[0].recipient == "alice@example.org");
  CHECK(f.suppressed());
  CHECK(f.bounces(of_recipient("alice@elsewhere.example")).empty());
}

TEST_CASE("a return path alone marks the newest mail; a second bounce within a day convinces") {
  BounceFixture f;
  const core::Id first = f.relayed().message->id;
  f.now += 1min;
  const core::Id second = f.relayed().message->id;
  CHECK(f.file(f.to_verp("alice@example.org")) == MailFate::processed);
  CHECK(f.told(first) == "relayed");
  CHECK(f.told(second) == "bounced user-unknown");
  CHECK_FALSE(f.suppressed());
  CHECK(f.recipient().deliverable == core::Deliverable::unknown);
  CHECK(f.recipient().last_verdict);
  SECTION("within a day") {
    f.now += 23h;
    CHECK(f.file(f.to_verp("alice@example.org")) == MailFate::processed);
    CHECK(f.suppressed());
    CHECK(f.bounces()[0].weight == VerdictWeight::hard);
  }
  SECTION("within a day, behind a heap of forged ones") {
    for (int i = 0; i < 120; ++i)
      CHECK(f.file(f.mail(BounceKind::bounce, BounceClass::user_unknown)) == MailFate::processed);
    f.now += 1h;
    CHECK(f.file(f.to_verp("alice@example.org")) == MailFate::processed);
    CHECK(f.suppressed());
  }
  SECTION("the same mail again") {
    core::MailRead again = f.to_verp("alice@example.org");
    again.hash[0] = 1;
    CHECK(f.file(again) == MailFate::processed);
    CHECK_FALSE(f.suppressed());
    CHECK(f.bounces().size() == 1);
  }
  SECTION("later") {
    f.now += 24h;
    CHECK(f.file(f.to_verp("alice@example.org")) == MailFate::processed);
    CHECK_FALSE(f.suppressed());
  }
  SECTION("a relay's refusal agrees") {
    f.now += 1h;
    (void)f.created();
    const auto jobs = f.claim(1);
    f.done(f.fact(core::JobRefused{jobs[0].key, core::Stage::rcpt, {550, "5.1.1", "no such user"}}));
    CHECK(f.suppressed());
    CHECK(f.suppressions()[0].source == core::BounceSource::smtp);
  }
}

TEST_CASE("a bounce before the agent's fact, or of an uncertain mail, proves that the relay has it") {
  BounceFixture f;
  const core::Id id = f.created().message->id;
  const auto jobs = f.claim(1);
  SECTION("while it is being sent") {
    CHECK(f.file(f.about(id)) == MailFate::processed);
    CHECK(f.told(id) == "bounced user-unknown");
    f.done(f.fact(core::JobRelayed{jobs[0].key, {250, "2.0.0", "ok"}}));
    CHECK(f.told(id) == "bounced user-unknown");
  }
  SECTION("in one commit with the fact, ahead of it") {
    std::vector<core::Command> batch;
    batch.emplace_back(core::RecordMail{f.now, f.about(id)});
    batch.emplace_back(f.fact(core::JobRelayed{jobs[0].key, {250, "2.0.0", "ok"}}));
    (void)f.commit(std::move(batch));
    CHECK(f.told(id) == "bounced user-unknown");
  }
  SECTION("uncertain: no repeat") {
    f.done(f.fact(core::JobUncertain{jobs[0].key, "cut"}));
    CHECK(f.file(f.about(id)) == MailFate::processed);
    f.now += 1min;
    f.done(core::Sweep{f.now});
    CHECK(f.claim(1).empty());
    CHECK(f.told(id) == "bounced user-unknown");
  }
  SECTION("a delay of an uncertain one") {
    f.done(f.fact(core::JobUncertain{jobs[0].key, "cut"}));
    CHECK(f.file(f.about(id, BounceClass::expired, BounceKind::delay)) == MailFate::processed);
    CHECK(f.told(id) == "relayed expired");
    CHECK(f.claim(1).empty());
  }
  CHECK(f.stats().accepted_total == 1);
}

TEST_CASE("delay, success, auto-reply, report of abuse and other mail to our return path") {
  BounceFixture f;
  const core::ChallengeView made = f.relayed();
  const core::Id id = made.message->id;
  const auto file = [&](BounceKind kind) { return f.file(f.about(id, BounceClass::user_unknown, kind)); };
  const std::uint64_t revision = f.view(made.id).revision;

  CHECK(file(BounceKind::auto_reply) == MailFate::unrecognised);
  CHECK(file(BounceKind::none) == MailFate::unrecognised);
  CHECK(file(BounceKind::feedback) == MailFate::processed);
  CHECK(f.view(made.id).revision == revision);
  CHECK(f.told(id) == "relayed");
  CHECK(f.bounces(of_kind(BounceKind::feedback))[0].weight == VerdictWeight::alarm);
  CHECK(f.recipient().deliverable == core::Deliverable::unknown);
  CHECK_FALSE(f.recipient().last_verdict);

  CHECK(file(BounceKind::delay) == MailFate::processed);
  CHECK(f.told(id) == "relayed user-unknown");
  CHECK(f.message_view(id).verdict->kind == core::VerdictKind::delayed);
  CHECK(f.view(made.id).revision == revision + 1);
  CHECK_FALSE(f.recipient().last_verdict);
  CHECK_FALSE(f.suppressed());

  CHECK(file(BounceKind::success) == MailFate::processed);
  CHECK(f.told(id) == "delivered");
  CHECK(f.recipient().deliverable == core::Deliverable::yes);
  CHECK(f.bounces().size() == 5);
  CHECK(f.stats().bounces.empty());
}

TEST_CASE("a full mailbox is told and not suppressed; what is our fault alarms and touches nobody") {
  BounceFixture f;
  const core::Id full = f.relayed().message->id;
  CHECK(f.file(f.about(full, BounceClass::mailbox_full)) == MailFate::processed);
  CHECK(f.told(full) == "bounced mailbox-full");
  CHECK_FALSE(f.suppressed());
  CHECK(f.recipient().deliverable == core::Deliverable::unknown);

  const core::ChallengeView proven = f.relayed("bob@example.org");
  CHECK(f.check_answer(f.check_command(proven.id, f.last_code)).result == core::CheckResult::valid);
  CHECK(f.recipient("bob@example.org").deliverable == core::Deliverable::yes);
  f.now += 1min;
  const core::Id spam = f.relayed("bob@example.org").message->id;
  CHECK(f.file(f.about(spam, BounceClass::spam)) == MailFate::processed);
  REQUIRE(f.last.bounces.size() == 1);
  CHECK(f.last.bounces[0].bounce.weight == VerdictWeight::alarm);
  CHECK(f.told(spam) == "bounced spam");
  CHECK(f.message_view(spam).verdict->kind == core::VerdictKind::refused);
  CHECK_FALSE(f.suppressed("bob@example.org"));
  CHECK(f.recipient("bob@example.org").deliverable == core::Deliverable::yes);
}

TEST_CASE("an event of a message counts once, in however many mails it comes") {
  BounceFixture f;
  const core::ChallengeView made = f.relayed();
  const core::Id id = made.message->id;
  CHECK(f.file(f.about(id)) == MailFate::processed);
  const std::uint64_t revision = f.view(made.id).revision;
  const auto until = f.recipient().suppressed->until;
  f.now += 1min;
  CHECK(f.file(f.about(id)) == MailFate::processed);
  CHECK(f.last.bounces.empty());
  CHECK(f.last.changes.empty());
  CHECK(f.view(made.id).revision == revision);
  CHECK(f.recipient().suppressed->until == until);
  CHECK(f.bounces().size() == 1);
  CHECK(f.stats().bounces.at("user-unknown") == 1);
  // Another class is another event.
  CHECK(f.file(f.about(id, BounceClass::mailbox_full)) == MailFate::processed);
  CHECK(f.bounces().size() == 2);
}

TEST_CASE("[verdict] decides: a class that an operator calls hard or none") {
  BounceFixture f;
  f.close();
  f.verdicts =
      core::verdict_table({{"mailbox-full", VerdictWeight::hard}, {"user-unknown", VerdictWeight::none}});
  f.open();
  const core::Id full = f.relayed().message->id;
  CHECK(f.file(f.about(full, BounceClass::mailbox_full)) == MailFate::processed);
  CHECK(f.suppressed());
  const core::Id gone = f.relayed("bob@example.org").message->id;
  CHECK(f.file(f.about(gone)) == MailFate::processed);
  CHECK(f.told(gone) == "bounced user-unknown");
  CHECK_FALSE(f.suppressed("bob@example.org"));
}

TEST_CASE("a provider's report: either token, with or without brackets, once") {
  BounceFixture f;
  const core::Id id = f.relayed().message->id;
  core::ReportBounce report;
  report.at = f.now;
  report.recipient.bounce_class = BounceClass::user_unknown;
  report.recipient.permanent = true;
  report.actor = {core::ActorKind::operator_, 0};
  CHECK(f.refusal(report).kind == core::RefusalKind::not_found);
  report.message_id = "<" + to_string(id) + "@otp.example.org>";
  CHECK(f.refusal(report).kind == core::RefusalKind::not_found);
  SECTION("Message-ID") {
    report.message_id = "<" + f.tokens.message(id) + "@otp.example.org>";
  }
  SECTION("bare Message-ID") {
    report.message_id = f.tokens.message(id) + "@otp.example.org";
  }
  SECTION("envelope id") {
    report.envid = f.tokens.message(id);
  }
  core::Outcome outcome = f.run(report);
  REQUIRE(outcome);
  const auto first = std::get<core::BounceRecorded>(*outcome);
  CHECK_FALSE(first.repeated);
  CHECK(first.bounce.source == core::BounceSource::provider);
  CHECK(first.bounce.recipient == "alice@example.org");
  CHECK(f.told(id) == "bounced user-unknown");
  CHECK(f.suppressed());
  outcome = f.run(report);
  REQUIRE(outcome);
  CHECK(std::get<core::BounceRecorded>(*outcome).repeated);
  CHECK(std::get<core::BounceRecorded>(*outcome).bounce.n == first.bounce.n);
  // The mail about the same event says nothing new.
  CHECK(f.file(f.about(id)) == MailFate::processed);
  CHECK(f.bounces().size() == 1);
}

TEST_CASE("a relay's own refusal of the recipient goes the same way") {
  BounceFixture f;
  const auto refuse = [&](const std::string& mailbox, core::Reply reply) {
    const core::Id id = f.created(mailbox).message->id;
    const auto jobs = f.claim(1);
    REQUIRE(jobs.size() == 1);
    f.done(f.fact(core::JobRefused{jobs[0].key, core::Stage::rcpt, std::move(reply)}));
    return id;
  };
  const core::Id dead = refuse("alice@example.org", {550, "5.1.1", "no such user"});
  CHECK(f.told(dead) == "failed user-unknown");
  REQUIRE(f.last.bounces.size() == 1);
  CHECK(f.last.bounces[0].relay == "primary");
  const auto ledger = f.bounces();
  REQUIRE(ledger.size() == 1);
  CHECK(ledger[0].source == core::BounceSource::smtp);
  CHECK(ledger[0].rule == "smtp-reply");
  CHECK(ledger[0].message == dead);
  CHECK(ledger[0].permanent == true);
  CHECK(f.suppressed());
  CHECK(f.recipient().last_verdict->source == core::VerdictSource::smtp);

  CHECK(f.told(refuse("bob@example.org", {552, "5.2.2", "full"})) == "failed mailbox-full");
  CHECK_FALSE(f.suppressed("bob@example.org"));
  CHECK(f.told(refuse("carol@example.org", {556, "5.1.10", "takes no mail"})) == "failed host-not-accepting");
  CHECK(f.suppressed("carol@example.org"));
  CHECK(f.bounces().size() == 3);
  // What is tried again is no refusal.
  CHECK(f.told(refuse("dave@example.org", {451, "4.7.1", "greylisted"})).starts_with("deferred"));
  CHECK(f.told(refuse("erin@example.org", {450, "4.2.1", "busy"})).starts_with("deferred"));
  CHECK(f.bounces().size() == 3);
}

TEST_CASE("the ledger: filters, pages, newest first") {
  BounceFixture f;
  std::vector<core::Id> ids;
  for (int i = 0; i < 5; ++i) {
    ids.push_back(
        f.relayed("u" + std::to_string(i) + "@example.org", i % 2 == 0 ? "shop" : "bank").message->id);
    CHECK(f.file(f.about(ids.back(), i == 3 ? BounceClass::mailbox_full : BounceClass::user_unknown)) ==
          MailFate::processed);
  }
  CHECK(f.bounces().size() == 5);
  CHECK(f.bounces()[0].message == ids[4]);
  CHECK(f.bounces(of_app("bank")).size() == 2);
  CHECK(f.bounces(of_class(BounceClass::mailbox_full)).size() == 1);
  CHECK(f.bounces(of_message(ids[2])).size() == 1);
  CHECK(f.bounces(of_recipient("U2@example.org")).size() == 1);
  CHECK(f.bounces(of_recipient("nobody@example.org")).empty());
  CHECK(f.bounces(of_kind(BounceKind::delay)).empty());
  auto reader = SqliteReader::open(f.folder.path());
  REQUIRE(reader);
  core::Page page{.limit = 2, .cursor = {}};
  std::size_t seen = 0;
  for (int pages = 0; pages < 5; ++pages) {
    const auto got = (*reader)->bounces({}, page);
    REQUIRE(got);
    seen += got->items.size();
    if (!got->next_cursor) break;
    page.cursor = *got->next_cursor;
  }
  CHECK(seen == 5);
  CHECK((*reader)->bounces(of_recipient("no address"), {}).error().code == core::Errc::invalid);
  CHECK((*reader)->bounces({}, {.limit = 50, .cursor = "?"}).error().code == core::Errc::malformed);
  CHECK((*reader)->bounces({}, {.limit = 501, .cursor = {}}).error().code == core::Errc::invalid);
}

TEST_CASE("the envelope of a mail carries the token that [mail] verp asks for") {
  BounceFixture f;
  const auto path = [&](core::Verp verp) {
    f.close();
    f.verp = verp;
    f.open();
    (void)f.created();
    const auto jobs = f.claim(1);
    REQUIRE(jobs.size() == 1);
    CHECK(jobs[0].envid == f.tokens.message(jobs[0].key.message));
    f.done(f.fact(core::JobRelayed{jobs[0].key, {250, "2.0.0", "ok"}}));
    const std::string of_message = f.tokens.message(jobs[0].key.message);
    const std::string out = jobs[0].return_path;
    if (out.find(of_message) != std::string::npos) return "bounces+MESSAGE" + out.substr(out.find('@'));
    return out;
  };
  const std::string of_alice = path(core::Verp::recipient);
  CHECK(of_alice == "bounces+" + f.verp_of("alice@example.org", f.now) + "@example.org");
  f.now += 1h;
  CHECK(path(core::Verp::recipient) == of_alice);  // greylisting sees the same triplet
  CHECK(path(core::Verp::message) == "bounces+MESSAGE@example.org");
  CHECK(path(core::Verp::off) == "bounces@example.org");
}

}  // namespace mailotp::store::test
