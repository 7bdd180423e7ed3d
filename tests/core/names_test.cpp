// The words for stored and travelling numbers: they are the contract with users and with old databases.
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "core/challenge.h"
#include "core/delivery.h"
#include "core/outbox.h"
#include "core/store.h"

namespace mailotp::core {
namespace {

TEST_CASE("challenge states keep their numbers and words") {
  const std::vector<std::string> words{"started",       "otp_sent", "otp_invalid", "otp_valid",
                                       "otp_exhausted", "expired",  "canceled"};
  REQUIRE(words.size() == k_challenge_states);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto state = static_cast<ChallengeState>(i);
    CHECK(to_string(state) == words[i]);
    CHECK(parse_challenge_state(words[i]).value() == state);
    CHECK(is_open(state) == (i < 3));
  }
  for (const std::string word : {"", "Started", "started ", "otp_", "canceled\n", "cancelled", "queued"}) {
    CAPTURE(word);
    CHECK(parse_challenge_state(word).error().code == Errc::invalid);
  }
}

TEST_CASE("message states keep their numbers and words") {
  const std::vector<std::string> words{"queued",     "sending",   "deferred",  "uncertain", "held",
                                       "relayed",    "delivered", "bounced",   "failed",    "expired",
                                       "superseded", "canceled",  "suppressed"};
  REQUIRE(words.size() == k_message_states);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto state = static_cast<MessageState>(i);
    CHECK(to_string(state) == words[i]);
    CHECK(parse_message_state(words[i]).value() == state);
    CHECK(is_open(state) == (i < 5));
  }
  for (const std::string word : {"", "Queued", "sent", "cancelled", "otp_sent"}) {
    CAPTURE(word);
    CHECK(parse_message_state(word).error().code == Errc::invalid);
  }
}

TEST_CASE("stages keep their numbers and words, and the session's come before the message's") {
  const std::vector<std::string> words{"local", "dns",  "connect", "tls",  "greeting", "ehlo", "starttls",
                                       "auth",  "mail", "rcpt",    "data", "body",     "dot"};
  REQUIRE(words.size() == k_stages);
  for (std::size_t i = 0; i < words.size(); ++i) {
    CHECK(to_string(static_cast<Stage>(i)) == words[i]);
    CHECK(is_session_stage(static_cast<Stage>(i)) == (i < 8));
  }
}

TEST_CASE("challenge events have different words") {
  std::set<std::string> words;
  for (int i = 0; i < k_challenge_events; ++i)
    words.emplace(to_string(static_cast<ChallengeEvent>(i)));
  CHECK(words.size() == k_challenge_events);
  CHECK(words.count("") == 0);
}

TEST_CASE("verdicts and results of checks have the words of the API") {
  CHECK(to_string(VerdictKind::undeliverable) == "undeliverable");
  CHECK(to_string(VerdictKind::delayed) == "delayed");
  CHECK(to_string(VerdictKind::refused) == "refused");
  CHECK(to_string(VerdictKind::unsent) == "unsent");
  CHECK(to_string(VerdictSource::smtp) == "smtp");
  CHECK(to_string(VerdictSource::dsn) == "dsn");
  CHECK(to_string(VerdictSource::policy) == "policy");
  CHECK(to_string(CheckResult::valid) == "valid");
  CHECK(to_string(CheckResult::invalid) == "invalid");
  CHECK(to_string(CheckResult::exhausted) == "exhausted");
  CHECK(to_string(CheckResult::expired) == "expired");
  CHECK(to_string(CheckResult::already_used) == "already_used");
  CHECK(to_string(CheckResult::canceled) == "canceled");
  CHECK(to_string(CheckResult::binding_mismatch) == "binding_mismatch");
}

}  // namespace
}  // namespace mailotp::core
