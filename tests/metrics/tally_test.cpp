// What is counted on the loop.
#include "daemon/metrics/tally.h"

#include <chrono>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace mailotp;
using namespace mailotp::daemon;
using namespace std::chrono_literals;

namespace {

std::vector<core::RelayConfig> relays(std::vector<std::string> names) {
  std::vector<core::RelayConfig> out;
  for (std::string& name : names)
    out.emplace_back().name = std::move(name);
  return out;
}

bool has(const Tally& tally, const std::string& line) {
  const std::string text = exposition(tally.families());
  UNSCOPED_INFO(text);
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

core::Outcome refused_for(std::string limit) {
  core::Refusal refusal;
  refusal.kind = core::RefusalKind::rate_limited;
  refusal.limit = core::Limit{std::move(limit), 1, core::Seconds{1}, {}};
  return refusal;
}

}  // namespace

TEST_CASE("tally: every counter is there before the first event") {
  const Tally tally(relays({"primary"}));
  CHECK(has(tally, "mailotpd_checks_total{result=\"binding_mismatch\"} 0"));
  CHECK(has(tally, "mailotpd_limit_hits_total{limit=\"event_streams\"} 0"));
  CHECK(has(tally, "mailotpd_relay_attempts_total{relay=\"primary\",outcome=\"lost\"} 0"));
  CHECK(has(tally, "mailotpd_relay_replies_total{relay=\"primary\",class=\"5xx\"} 0"));
  CHECK(has(tally, "mailotpd_delivery_seconds_count{kind=\"templated\"} 0"));
  CHECK(has(tally, "mailotpd_store_commit_seconds_bucket{le=\"+Inf\"} 0"));
}

TEST_CASE("tally: a commit is counted with what it answered") {
  Tally tally(relays({}));
  core::Committed committed;
  core::CheckAnswer right;
  right.result = core::CheckResult::valid;
  core::ChallengeAnswer created;
  created.disposition = core::Disposition::created;
  committed.outcomes.emplace_back(right);
  committed.outcomes.emplace_back(core::CheckAnswer{});
  committed.outcomes.emplace_back(core::CheckAnswer{});
  committed.outcomes.emplace_back(created);
  committed.outcomes.emplace_back(refused_for("recipient_sends"));
  committed.outcomes.emplace_back(refused_for("alice@example.org"));  // none that we know: no label of it
  committed.outcomes.emplace_back(core::Refusal{});
  committed.outcomes.emplace_back(core::KeptAnswer{});
  committed.outcomes.emplace_back(core::Done{});
  committed.relayed = {{core::MessageKind::otp, 40ms}, {core::MessageKind::templated, 700s}};
  tally.commit(committed, committed.outcomes.size(), 3ms);
  CHECK(has(tally, "mailotpd_checks_total{result=\"valid\"} 1"));
  CHECK(has(tally, "mailotpd_checks_total{result=\"invalid\"} 2"));
  CHECK(has(tally, "mailotpd_challenge_requests_total{done=\"created\"} 1"));
  CHECK(has(tally, "mailotpd_challenge_requests_total{done=\"resent\"} 0"));
  CHECK(has(tally, "mailotpd_limit_hits_total{limit=\"recipient_sends\"} 1"));
  CHECK(has(tally, "mailotpd_repeated_requests_total 1"));
  CHECK(has(tally, "mailotpd_delivery_seconds_bucket{kind=\"otp\",le=\"0.025\"} 0"));
  CHECK(has(tally, "mailotpd_delivery_seconds_bucket{kind=\"otp\",le=\"0.05\"} 1"));
  CHECK(has(tally, "mailotpd_delivery_seconds_bucket{kind=\"templated\",le=\"600\"} 0"));
  CHECK(has(tally, "mailotpd_delivery_seconds_bucket{kind=\"templated\",le=\"+Inf\"} 1"));
  CHECK(has(tally, "mailotpd_store_commit_seconds_bucket{le=\"0.0025\"} 0"));
  CHECK(has(tally, "mailotpd_store_commit_seconds_bucket{le=\"0.005\"} 1"));
  CHECK(has(tally, "mailotpd_store_commit_commands_bucket{le=\"8\"} 0"));
  CHECK(has(tally, "mailotpd_store_commit_commands_bucket{le=\"16\"} 1"));
  CHECK(has(tally, "mailotpd_store_commit_errors_total 0"));
  CHECK(exposition(tally.families()).find("alice") == std::string::npos);
}

TEST_CASE("tally: a commit that fails is an error, once, and no answer") {
  Tally tally(relays({}));
  core::Committed committed;
  committed.outcomes.emplace_back(core::fail(core::Errc::no_space, "full"));
  committed.outcomes.emplace_back(core::fail(core::Errc::no_space, "full"));
  committed.error = core::Error{core::Errc::no_space, "full"};
  tally.commit(committed, 2, 1ms);
  CHECK(has(tally, "mailotpd_store_commit_errors_total 1"));
  CHECK(has(tally, "mailotpd_store_commit_seconds_count 1"));
}

TEST_CASE("tally: attempts and replies of each relay, by its name") {
  Tally tally(relays({"primary", "back\"up"}));
  tally.attempt("primary", AttemptEnd::relayed, 250);
  tally.attempt("primary", AttemptEnd::refused, 550);
  tally.attempt("primary", AttemptEnd::refused, 451);
  tally.attempt("primary", AttemptEnd::not_sent, 421);
  tally.attempt("back\"up", AttemptEnd::uncertain, 0);
  tally.attempt("back\"up", AttemptEnd::lost, 0);
  tally.attempt("none", AttemptEnd::relayed, 250);
  CHECK(has(tally, "mailotpd_relay_attempts_total{relay=\"primary\",outcome=\"relayed\"} 1"));
  CHECK(has(tally, "mailotpd_relay_attempts_total{relay=\"primary\",outcome=\"refused\"} 2"));
  CHECK(has(tally, "mailotpd_relay_attempts_total{relay=\"primary\",outcome=\"not_sent\"} 1"));
  CHECK(has(tally, "mailotpd_relay_attempts_total{relay=\"back\\\"up\",outcome=\"uncertain\"} 1"));
  CHECK(has(tally, "mailotpd_relay_attempts_total{relay=\"back\\\"up\",outcome=\"lost\"} 1"));
  CHECK(has(tally, "mailotpd_relay_replies_total{relay=\"primary\",class=\"2xx\"} 1"));
  CHECK(has(tally, "mailotpd_relay_replies_total{relay=\"primary\",class=\"4xx\"} 2"));
  CHECK(has(tally, "mailotpd_relay_replies_total{relay=\"primary\",class=\"5xx\"} 1"));
  CHECK(exposition(tally.families()).find("none") == std::string::npos);
}

TEST_CASE("tally: limits that the store does not know") {
  Tally tally(relays({}));
  tally.limit_hit("waits");
  tally.limit_hit("waits");
  tally.limit_hit("nothing");
  CHECK(has(tally, "mailotpd_limit_hits_total{limit=\"waits\"} 2"));
}
