// Repeats of a request under an Idempotency-Key: done once, told as often as asked.
#include <fstream>
#include <sstream>

#include <catch2/catch.hpp>

#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using core::KeptAnswer;
using core::RefusalKind;
using namespace std::chrono_literals;

namespace {

constexpr const char* k_answer_marker = "ANSWER-MARKER";

// As the daemon's: a text that tells which answer it was made of.
core::Once once(std::string key, const std::string& request = "POST /v1/challenges {}") {
  core::Once out;
  out.key = std::move(key);
  out.request = core::Secret(request);
  out.keep = [](const core::Answer& answer) {
    KeptAnswer kept;
    std::string text = k_answer_marker;
    if (const auto* challenge = std::get_if<core::ChallengeAnswer>(&answer)) {
      kept.status = challenge->disposition == core::Disposition::created ? 201 : 202;
      kept.location = "/v1/challenges/" + core::to_string(challenge->challenge.id);
      text += "\n" + core::to_string(challenge->challenge.id);
    } else if (const auto* message = std::get_if<core::MessageAnswer>(&answer)) {
      kept.status = 201;
      text += "\n" + core::to_string(message->message.id);
    } else {
      kept.status = 200;
      text += " " + std::string(to_string(std::get<core::CheckAnswer>(answer).result));
    }
    kept.body = core::Secret(std::move(text));
    return kept;
  };
  return out;
}

core::CreateChallenge create(StoreFixture& f, const std::string& key, const std::string& request = "{}") {
  core::CreateChallenge command = f.create_command();
  command.once = once(key, request);
  return command;
}

KeptAnswer kept(core::Outcome outcome) {
  INFO((outcome ? "" : outcome.error().what));
  REQUIRE(outcome);
  REQUIRE(std::holds_alternative<KeptAnswer>(*outcome));
  return std::get<KeptAnswer>(*std::move(outcome));
}

bool in_a_file(const StoreFixture& f, const std::string& bytes) {
  for (const char* suffix : {"", "-wal"}) {
    std::ostringstream out;
    out << std::ifstream(f.database_path() + suffix, std::ios::binary).rdbuf();
    if (out.str().find(bytes) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("a repeat is told what the first one was told, and does nothing") {
  StoreFixture f;
  const core::ChallengeView made = f.challenge_answer(create(f, "k1")).challenge;
  Database db(f.database_path());
  const std::string before = db.dump();
  const KeptAnswer again = kept(f.run(create(f, "k1")));
  CHECK(again.status == 201);
  CHECK(again.location == "/v1/challenges/" + core::to_string(made.id));
  CHECK(again.body.reveal() == std::string(k_answer_marker) + "\n" + core::to_string(made.id));
  CHECK(db.dump() == before);
  CHECK(f.last.changes.empty());
  CHECK(f.stats().accepted_total == 1);
}

TEST_CASE("of the repeats in one batch only the first one does something") {
  StoreFixture f;
  std::vector<core::Command> batch;
  for (int i = 0; i < 40; ++i)
    batch.emplace_back(create(f, "k1"));
  const core::Committed out = f.commit(std::move(batch), 100);
  REQUIRE(std::holds_alternative<core::ChallengeAnswer>(*out.outcomes[0]));
  for (std::size_t i = 1; i < out.outcomes.size(); ++i) {
    REQUIRE(out.outcomes[i]);
    CHECK(std::holds_alternative<KeptAnswer>(*out.outcomes[i]));
  }
  CHECK(out.jobs.size() == 1);
  Database db(f.database_path());
  CHECK(db.value("SELECT count(*) FROM challenge") == "1");
  CHECK(db.value("SELECT count(*) FROM idempotency") == "1");
}

TEST_CASE("a repeat after a restart, also with another key in front, is told the same") {
  StoreFixture f;
  const core::ChallengeView made = f.challenge_answer(create(f, "k1")).challenge;
  f.close();
  f.open(key_ring({'n', 'k'}));
  CHECK(kept(f.run(create(f, "k1"))).location == "/v1/challenges/" + core::to_string(made.id));
}

TEST_CASE("a key of the key file that only kept answers need may go: a repeat is then a new request") {
  StoreFixture f;
  core::CreateChallenge unsent = create(f, "k1");
  unsent.message.reset();
  const core::ChallengeView made = f.challenge_answer(std::move(unsent)).challenge;
  (void)f.challenge_answer(f.cancel_command(made.id));
  f.close();
  f.open(key_ring({'n'}));
  CHECK(f.challenge_answer(create(f, "k1")).challenge.id != made.id);
  (void)kept(f.run(create(f, "k1")));
}

TEST_CASE("another request under the same key is refused and does nothing") {
  StoreFixture f;
  (void)f.challenge_answer(create(f, "k1", "POST /v1/challenges {\"a\":1}"));
  Database db(f.database_path());
  const std::string before = db.dump();
  CHECK(f.refusal(create(f, "k1", "POST /v1/challenges {\"a\":2}")).kind ==
        RefusalKind::idempotency_mismatch);
  core::CreateMessage other;
  other.app = "shop";
  other.at = f.now;
  other.once = once("k1", "POST /v1/messages {\"a\":1}");
  CHECK(f.refusal(std::move(other)).kind == RefusalKind::idempotency_mismatch);
  CHECK(db.dump() == before);
}

TEST_CASE("another app's key is another key") {
  StoreFixture f;
  (void)f.challenge_answer(create(f, "k1"));
  core::CreateChallenge foreign = create(f, "k1");
  foreign.app = "forum";
  (void)f.challenge_answer(std::move(foreign));
  CHECK(Database(f.database_path()).value("SELECT count(*) FROM challenge") == "2");
}

TEST_CASE("a repeat is answered where new work is refused for want of room") {
  StoreFixture f;
  (void)f.challenge_answer(create(f, "key"));
  f.close();
  f.min_free_disk = INT64_MAX;
  f.open();
  REQUIRE_FALSE(f.store->look().low.empty());
  CHECK(kept(f.run(create(f, "key"))).status == 201);
  CHECK(f.refusal(create(f, "another")).kind == RefusalKind::overloaded);
}

TEST_CASE("a kept answer counts for a day") {
  StoreFixture f;
  const core::Id first = f.challenge_answer(create(f, "k1")).challenge.id;
  f.now += 24h - 1ms;
  CHECK(kept(f.run(create(f, "k1"))).location == "/v1/challenges/" + core::to_string(first));
  f.now += 1ms;
  const core::Id second = f.challenge_answer(create(f, "k1", "another request by now")).challenge.id;
  CHECK(second != first);
  CHECK(Database(f.database_path()).value("SELECT count(*) FROM idempotency") == "1");
  CHECK(kept(f.run(create(f, "k1", "another request by now"))).location ==
        "/v1/challenges/" + core::to_string(second));
  // The clock is set back: still the same request.
  f.now -= 2h;
  (void)kept(f.run(create(f, "k1", "another request by now")));
}

TEST_CASE("a right code whose answer was lost is valid again when it is repeated") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  const auto check = [&](std::optional<std::string> key) {
    core::CheckCode command = f.check_command(made.id, f.last_code);
    if (key) command.once = once(*key, "POST /v1/challenges/…/check " + f.last_code);
    return command;
  };
  CHECK(f.check_answer(check("k1")).result == core::CheckResult::valid);
  for (int i = 0; i < 2; ++i)
    CHECK(kept(f.run(check("k1"))).body.reveal() == std::string(k_answer_marker) + " valid");
  CHECK(f.check_answer(check(std::nullopt)).result == core::CheckResult::already_used);
  CHECK(f.check_answer(check("k2")).result == core::CheckResult::already_used);
}

TEST_CASE("a wrong guess that is repeated costs one attempt") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  for (int i = 0; i < 3; ++i) {
    core::CheckCode command = f.check_command(made.id, "WRONGCODE1");
    command.once = once("k1");
    REQUIRE(f.run(std::move(command)));
  }
  CHECK(f.view(made.id).attempts_left == made.attempts_left - 1);
}

TEST_CASE("a repeat of send, cancel and message is told the same") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  f.now += 30s;
  for (int i = 0; i < 2; ++i) {
    core::SendChallenge send = f.send_command(made.id);
    send.once = once("send");
    const auto outcome = f.run(std::move(send));
    REQUIRE(outcome);
    CHECK(std::holds_alternative<KeptAnswer>(*outcome) == (i == 1));
  }
  CHECK(f.view(made.id).sends_left == made.sends_left - 1);
  for (int i = 0; i < 2; ++i) {
    core::CancelChallenge cancel = f.cancel_command(made.id);
    cancel.once = once("cancel");
    const auto outcome = f.run(std::move(cancel));
    REQUIRE(outcome);
    CHECK(std::holds_alternative<KeptAnswer>(*outcome) == (i == 1));
  }
  std::string first;
  for (int i = 0; i < 2; ++i) {
    core::CreateMessage message;
    message.at = f.now;
    message.id = f.ids.next(f.now);
    message.app = "shop";
    message.recipient = *core::parse_address("bob@example.org");
    message.not_after = f.now + 1h;
    message.mail = core::ComposedMail{core::Secret("mail"), "<1@test>", "0123456789abcdef", "en"};
    message.once = once("message");
    const auto outcome = f.run(std::move(message));
    REQUIRE(outcome);
    if (i == 0) first = core::to_string(std::get<core::MessageAnswer>(*outcome).message.id);
    if (i == 1)
      CHECK(std::get<KeptAnswer>(*outcome).body.reveal() == std::string(k_answer_marker) + "\n" + first);
  }
}

TEST_CASE("what is refused is not kept: the same request may succeed later") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  const auto send = [&] {
    core::SendChallenge command = f.send_command(made.id);
    command.once = once("k1");
    return command;
  };
  CHECK(f.refusal(send()).kind == RefusalKind::resend_cooldown);
  CHECK(Database(f.database_path()).value("SELECT count(*) FROM idempotency") == "0");
  f.now += 30s;
  (void)f.challenge_answer(send());
  CHECK(f.refusal(f.send_command(made.id)).kind == RefusalKind::resend_cooldown);
  (void)kept(f.run(send()));
}

TEST_CASE("what fails in the store is not kept") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  Database db(f.database_path());
  db.run("UPDATE challenge SET data = zeroblob(40)");
  f.now += 30s;
  core::SendChallenge command = f.send_command(made.id);
  command.once = once("k1");
  CHECK_FALSE(f.run(std::move(command)));
  CHECK(db.value("SELECT count(*) FROM idempotency") == "0");
}

TEST_CASE("a request that can no longer be carried out is told what it was told, if it was") {
  StoreFixture f;
  CHECK(f.refusal(core::Recall{f.now, "shop", once("k1", "{}")}).kind == RefusalKind::not_found);
  (void)f.challenge_answer(create(f, "k1"));
  CHECK(kept(f.run(core::Recall{f.now, "shop", once("k1", "{}")})).status == 201);
  CHECK(f.refusal(core::Recall{f.now, "shop", once("k1", "{ }")}).kind == RefusalKind::idempotency_mismatch);
  CHECK(f.refusal(core::Recall{f.now, "forum", once("k1", "{}")}).kind == RefusalKind::not_found);
}

TEST_CASE("neither key, request nor answer can be read in the file; the row knows its recipient") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  core::CheckCode check = f.check_command(made.id, f.last_code);
  check.once = once("KEY-MARKER", "POST … " + f.last_code);
  (void)f.check_answer(std::move(check));
  CHECK(in_a_file(f, "alice@example.org"));  // the search finds what is there
  CHECK_FALSE(in_a_file(f, "KEY-MARKER"));
  CHECK_FALSE(in_a_file(f, f.last_code));
  CHECK_FALSE(in_a_file(f, k_answer_marker));
  Database db(f.database_path());
  CHECK(db.value("SELECT r.key FROM idempotency i JOIN recipient r ON r.id = i.recipient") ==
        "alice@example.org");
}

TEST_CASE("an answer that was moved to another row does not open") {
  StoreFixture f;
  (void)f.challenge_answer(create(f, "k1"));
  (void)f.challenge_answer(create(f, "k2"));
  Database db(f.database_path());
  db.run("UPDATE idempotency SET answer = (SELECT answer FROM idempotency WHERE n = 1) WHERE n = 2");
  (void)kept(f.run(create(f, "k1")));
  const auto outcome = f.run(create(f, "k2"));
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code == core::Errc::corrupt);
}

TEST_CASE("a check of an address without a challenge is kept without one") {
  StoreFixture f;
  for (int i = 0; i < 2; ++i) {
    core::CheckCode command;
    command.at = f.now;
    command.app = "shop";
    command.purpose = "login";
    command.recipient = *core::parse_address("nobody@example.org");
    command.typed = core::Secret("123456");
    command.once = once("k1");
    const auto outcome = f.run(std::move(command));
    REQUIRE(outcome);
    CHECK(std::holds_alternative<KeptAnswer>(*outcome) == (i == 1));
  }
  CHECK(Database(f.database_path()).value("SELECT recipient FROM idempotency") == "NULL");
}

}  // namespace mailotp::store::test
