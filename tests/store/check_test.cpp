#include <catch2/catch.hpp>

#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using namespace std::chrono_literals;
using core::ChallengeState;
using core::CheckResult;

TEST_CASE("the right code is valid once, however it is typed") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  std::string typed = f.last_code.substr(0, 5) + " - " + f.last_code.substr(5);
  for (char& c : typed)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const core::CheckAnswer answer = f.check_answer(f.check_command(made.id, typed));
  CHECK(answer.result == CheckResult::valid);
  CHECK(answer.state == ChallengeState::otp_valid);
  CHECK(answer.attempts_left == 4);
  CHECK(answer.metadata == R"({"order":7})");
  CHECK(f.view(made.id).message->state == core::MessageState::canceled);
  const core::CheckAnswer again = f.check_answer(f.check_command(made.id, f.last_code));
  CHECK(again.result == CheckResult::already_used);
  CHECK(again.attempts_left == 4);
}

TEST_CASE("of two right codes in one batch one is valid") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  std::vector<core::Command> batch;
  batch.emplace_back(f.check_command(made.id, f.last_code));
  batch.emplace_back(f.check_command(made.id, f.last_code));
  const core::Committed out = f.commit(std::move(batch));
  CHECK(std::get<core::CheckAnswer>(*out.outcomes[0]).result == CheckResult::valid);
  CHECK(std::get<core::CheckAnswer>(*out.outcomes[1]).result == CheckResult::already_used);
}

TEST_CASE("wrong codes use up the attempts, and then the right one is of no use") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  for (int left = 4; left >= 0; --left) {
    const core::CheckAnswer answer = f.check_answer(f.check_command(made.id, "0000000000"));
    CHECK(answer.result == CheckResult::invalid);
    CHECK(answer.attempts_left == left);
    CHECK(answer.state == (left > 0 ? ChallengeState::otp_invalid : ChallengeState::otp_exhausted));
    CHECK(Database(f.database_path()).value("SELECT attempts_left FROM challenge") == std::to_string(left));
  }
  CHECK(f.check_answer(f.check_command(made.id, f.last_code)).result == CheckResult::exhausted);
  CHECK(f.events(made.message->id).find("challenge.exhausted") != std::string::npos);
}

TEST_CASE("the code of another challenge is wrong") {
  StoreFixture f;
  const core::ChallengeView first = f.created();
  const std::string code = f.last_code;
  const core::ChallengeView second = f.created();
  CHECK(f.check_answer(f.check_command(second.id, code)).result == CheckResult::invalid);
  CHECK(f.check_answer(f.check_command(first.id, code)).result == CheckResult::valid);
}

TEST_CASE("a challenge whose time is up answers expired at once, before any sweep") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  f.now = made.expires_at;
  const core::CheckAnswer answer = f.check_answer(f.check_command(made.id, f.last_code));
  CHECK(answer.result == CheckResult::expired);
  CHECK(answer.state == ChallengeState::expired);
  CHECK(answer.attempts_left == 5);
  CHECK(f.check_answer(f.check_command(made.id, f.last_code)).result == CheckResult::expired);
}

TEST_CASE("a canceled challenge answers canceled") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  (void)f.challenge_answer(f.cancel_command(made.id));
  CHECK(f.check_answer(f.check_command(made.id, f.last_code)).result == CheckResult::canceled);
}

TEST_CASE("a binding is compared before the code, and counts") {
  StoreFixture f;
  core::CreateChallenge command = f.create_command();
  command.binding = core::Secret(R"({"amount":"39.99 EUR"})");
  const core::ChallengeView made = f.challenge_answer(std::move(command)).challenge;
  const auto with = [&](const char* binding) {
    core::CheckCode check = f.check_command(made.id, f.last_code);
    check.binding = core::Secret(binding);
    return f.check_answer(std::move(check));
  };
  CHECK(with(R"({"amount":"3999.00 EUR"})").result == CheckResult::binding_mismatch);
  const core::CheckAnswer without = with("");
  CHECK(without.result == CheckResult::binding_mismatch);
  CHECK(without.attempts_left == 3);
  CHECK(with(R"({"amount":"39.99 EUR"})").result == CheckResult::valid);
}

TEST_CASE("a binding that was not asked for does not agree") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  core::CheckCode check = f.check_command(made.id, f.last_code);
  check.binding = core::Secret(R"({"session":"x"})");
  CHECK(f.check_answer(std::move(check)).result == CheckResult::binding_mismatch);
}

TEST_CASE("the binding of a challenge comes back in the mail of a resend") {
  StoreFixture f;
  core::CreateChallenge command = f.create_command();
  command.binding = core::Secret(R"({"payee":"Acme"})");
  const core::ChallengeView made = f.challenge_answer(std::move(command)).challenge;
  f.now += 30s;
  (void)f.challenge_answer(f.send_command(made.id));
  const auto jobs = f.claim();
  REQUIRE(jobs.size() == 1);
  CHECK(jobs[0].content.reveal().find(R"(binding={"payee":"Acme"})") != std::string::npos);
}

TEST_CASE("the short form checks the newest challenge of the address, in any spelling") {
  StoreFixture f;
  (void)f.created("Alice@example.org");
  const std::string old_code = f.last_code;
  (void)f.created("alice@example.org");
  const auto verify = [&](const std::string& typed) {
    core::CheckCode check;
    check.at = f.now;
    check.app = "shop";
    check.purpose = "login";
    check.recipient = *core::parse_address("ALICE@example.org");
    check.typed = core::Secret(typed);
    return f.check_answer(std::move(check));
  };
  CHECK(verify(old_code).result == CheckResult::invalid);
  CHECK(verify(f.last_code).result == CheckResult::valid);
}

TEST_CASE("the short form without a challenge answers invalid and waits for the disk as well") {
  StoreFixture f;
  (void)f.created();
  core::CheckCode check;
  check.at = f.now;
  check.app = "shop";
  check.purpose = "login";
  check.recipient = *core::parse_address("nobody@example.org");
  check.typed = core::Secret("123456");
  check.binding = core::Secret("{}");
  SECTION("address") {}
  SECTION("purpose") {
    check.recipient = *core::parse_address("alice@example.org");
    check.purpose = "signup";
  }
  SECTION("app") {
    check.recipient = *core::parse_address("alice@example.org");
    check.app = "other";
  }
  const core::CheckAnswer answer = f.check_answer(std::move(check));
  CHECK(answer.result == CheckResult::invalid);
  CHECK_FALSE(answer.state);
  CHECK(answer.attempts_left == 0);
  CHECK(Database(f.database_path()).value("SELECT value FROM counter WHERE name = 'checks_total'") == "1");
}

TEST_CASE("a check of another app's challenge is not found and counts nothing") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  core::CheckCode check = f.check_command(made.id, f.last_code);
  check.app = "other";
  CHECK(f.refusal(std::move(check)).kind == core::RefusalKind::not_found);
  CHECK(f.view(made.id).attempts_left == 5);
}

TEST_CASE("a check names a challenge or a recipient, or it is an error") {
  StoreFixture f;
  core::CheckCode check;
  check.at = f.now;
  check.app = "shop";
  const auto outcome = f.run(std::move(check));
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code == core::Errc::invalid);
}

TEST_CASE("a code of a mail that bounced, or is still queued, is valid") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  auto jobs = f.claim();
  f.done(f.fact(core::JobRefused{jobs[0].key, core::Stage::rcpt, {550, "5.1.1", "unknown"}}));
  CHECK(f.view(made.id).message->state == core::MessageState::failed);
  CHECK(f.check_answer(f.check_command(made.id, f.last_code)).result == CheckResult::valid);
}

}  // namespace mailotp::store::test
