// Mails that are no code: queued, sent and shown without a challenge.
#include <catch2/catch.hpp>

#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using core::MessageState;
using namespace std::chrono_literals;

namespace {

constexpr const char* k_mail = "Subject: Welcome\r\n\r\nBODY-OF-THE-MAIL\r\n";

core::CreateMessage command(StoreFixture& f, const std::string& mailbox = "bob@example.org") {
  core::CreateMessage out;
  out.at = f.now;
  out.id = f.ids.next(f.now);
  out.app = "shop";
  out.recipient = *core::parse_address(mailbox);
  out.template_name = "welcome";
  out.not_after = f.now + 5 * 24h;
  out.metadata = R"({"order":8})";
  out.mail = core::ComposedMail{core::Secret(k_mail), "<1@test>", "0123456789abcdef", "de"};
  out.actor = {core::ActorKind::app, 1000};
  return out;
}

core::MessageView created(StoreFixture& f, core::CreateMessage message) {
  auto outcome = f.run(std::move(message));
  REQUIRE(outcome);
  return std::get<core::MessageAnswer>(*std::move(outcome)).message;
}

}  // namespace

TEST_CASE("a message without a challenge is queued, and what is answered is what is read") {
  StoreFixture f;
  const core::MessageView made = created(f, command(f));
  CHECK(made.state == MessageState::queued);
  CHECK(made.kind == core::MessageKind::templated);
  CHECK_FALSE(made.challenge);
  CHECK(made.recipient == "bob@example.org");
  CHECK(made.template_name == "welcome");
  CHECK(made.not_after == f.now + 5 * 24h);
  const core::MessageView read = f.message_view(made.id);
  CHECK(read.revision == made.revision);
  CHECK(read.metadata == made.metadata);
  CHECK(read.message_id == made.message_id);
  CHECK(read.created_at == made.created_at);
  REQUIRE(f.last.changes.size() == 1);
  CHECK(f.last.changes[0].message == made.id);
  CHECK_FALSE(f.last.changes[0].challenge);
  CHECK(f.stats().accepted_total == 1);
}

TEST_CASE("it is handed out with its own bytes, after the codes, and ends like any other") {
  StoreFixture f;
  const core::MessageView made = created(f, command(f));
  const core::Id code = f.created("alice@example.org").message->id;
  auto first = f.claim(1);
  REQUIRE(first.size() == 1);
  CHECK(first[0].key.message == code);
  const auto jobs = f.claim(1);
  REQUIRE(jobs.size() == 1);
  CHECK(jobs[0].key.message == made.id);
  CHECK(jobs[0].content.reveal() == k_mail);
  CHECK(jobs[0].recipient == "bob@example.org");
  f.done(f.fact(core::JobRelayed{jobs[0].key, {250, "2.0.0", "ok"}}));
  CHECK(f.message_view(made.id).state == MessageState::relayed);
  CHECK(f.events(made.id) == "message.queued,message.relayed");
}

TEST_CASE("it expires when its time is up") {
  StoreFixture f;
  core::CreateMessage soon = command(f);
  soon.not_after = f.now + 1s;
  const core::MessageView made = created(f, std::move(soon));
  REQUIRE(f.last.next_due == made.not_after);
  f.now += 1s;
  f.done(core::Sweep{f.now});
  CHECK(f.message_view(made.id).state == MessageState::expired);
  CHECK(f.events(made.id) == "message.queued,message.expired");
}

TEST_CASE("an uncertain one is held where its template says so") {
  StoreFixture f;
  core::CreateMessage message = command(f);
  message.mail.on_uncertain = core::OnUncertain::hold;
  const core::MessageView made = created(f, std::move(message));
  const auto jobs = f.claim(1);
  REQUIRE(jobs.size() == 1);
  f.done(f.fact(core::JobUncertain{jobs[0].key, "connection lost"}));
  CHECK(f.message_view(made.id).state == MessageState::held);
}

TEST_CASE("with as many open messages as are allowed another one is refused") {
  StoreFixture f;
  f.close();
  f.max_open_messages = 1;
  f.open();
  (void)created(f, command(f));
  CHECK(f.refusal(command(f, "carol@example.org")).kind == core::RefusalKind::overloaded);
  Database db(f.database_path());
  CHECK(db.value("SELECT count(*) FROM recipient") == "1");
}

}  // namespace mailotp::store::test
