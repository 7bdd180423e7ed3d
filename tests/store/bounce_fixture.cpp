#include "tests/store/bounce_fixture.h"

#include <catch2/catch.hpp>

namespace mailotp::store::test {

core::ChallengeView BounceFixture::sent_by(const std::string& mailbox, const std::string& app) {
  core::CreateChallenge command = create_command(mailbox);
  command.app = app;
  return challenge_answer(std::move(command)).challenge;
}

core::ChallengeView BounceFixture::relayed(const std::string& mailbox, const std::string& app) {
  core::ChallengeView made = sent_by(mailbox, app);
  const auto jobs = claim(1);
  REQUIRE(jobs.size() == 1);
  REQUIRE(jobs[0].key.message == made.message->id);
  done(fact(core::JobRelayed{jobs[0].key, {250, "2.0.0", "ok"}}));
  return made;
}

core::MailRead BounceFixture::mail(core::BounceKind kind, core::BounceClass bounce_class,
                                   const std::string& address) {
  core::MailRead out;
  out.mail = {1, next_uid++};
  out.size = 4000;
  out.hash[0] = next_hash++;
  out.addressed = true;
  out.report.kind = kind;
  out.report.rule = "dsn-fields";
  core::BouncedRecipient said;
  said.address = address;
  said.kind = kind;
  said.permanent = kind == core::BounceKind::bounce;
  said.status = "5.1.1";
  said.diagnostic = "smtp; 550 5.1.1 no such user";
  said.bounce_class = bounce_class;
  out.report.recipients.push_back(said);
  return out;
}

core::MailRead BounceFixture::about(const core::Id& message, core::BounceClass bounce_class,
                                    core::BounceKind kind) {
  core::MailRead out = mail(kind, bounce_class);
  out.report.message_ids.push_back(tokens.message(message) + "@otp.example.org");
  return out;
}

std::string BounceFixture::verp_of(const std::string& mailbox, core::WallTime at) {
  Database db(database_path());
  const auto address = core::parse_address(mailbox);
  const auto n = db.rows("SELECT id FROM recipient WHERE key = '" + address->key() + "'");
  REQUIRE(n.size() == 1);
  return tokens.recipient(std::stoll(n[0]), address->key(), at);
}

core::MailRead BounceFixture::to_verp(const std::string& mailbox, core::BounceClass bounce_class) {
  core::MailRead out = mail(core::BounceKind::bounce, bounce_class, mailbox);
  out.tags.push_back(verp_of(mailbox, now));
  return out;
}

core::MailFate BounceFixture::file(const core::MailRead& mail) {
  const core::Outcome outcome = run(core::RecordMail{now, mail});
  INFO((outcome ? "" : outcome.error().what));
  REQUIRE(outcome);
  REQUIRE(std::holds_alternative<core::MailFiled>(*outcome));
  CHECK(std::get<core::MailFiled>(*outcome).mail == mail.mail);
  return std::get<core::MailFiled>(*outcome).fate;
}

core::MailboxState BounceFixture::state_of(core::Command command) {
  const core::Outcome outcome = run(std::move(command));
  INFO((outcome ? "" : outcome.error().what));
  REQUIRE(outcome);
  REQUIRE(std::holds_alternative<core::MailboxState>(*outcome));
  return std::get<core::MailboxState>(*outcome);
}

core::RecipientView BounceFixture::recipient(const std::string& mailbox, const std::string& app) {
  auto found = reader_of(*this)->recipient(app, *core::parse_address(mailbox), now);
  INFO((found ? "" : found.error().what));
  REQUIRE(found);
  return *std::move(found);
}

std::vector<core::BounceView> BounceFixture::bounces(const core::BounceFilter& filter) {
  auto found = reader_of(*this)->bounces(filter, {});
  INFO((found ? "" : found.error().what));
  REQUIRE(found);
  CHECK_FALSE(found->next_cursor);
  return std::move(found->items);
}

std::vector<core::SuppressionView> BounceFixture::suppressions(const std::string& mailbox) {
  auto found = reader_of(*this)->suppressions(mailbox, {}, now);
  INFO((found ? "" : found.error().what));
  REQUIRE(found);
  return std::move(found->items);
}

std::string BounceFixture::told(const core::Id& message) {
  auto found = reader_of(*this)->message({}, message);
  REQUIRE(found);
  std::string out(to_string(found->state));
  if (found->verdict) out += " " + found->verdict->verdict_class;
  return out;
}

}  // namespace mailotp::store::test
