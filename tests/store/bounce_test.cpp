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

}  // namespace mailotp::store::test
