#include "daemon/http/problem.h"

#include <map>
#include <set>
#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace mailotp::daemon {
namespace {

using nlohmann::json;

std::string header(const HttpResponse& response, const std::string& name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

ProblemDetail detail_of(Problem problem) {
  ProblemDetail detail;
  detail.problem = problem;
  detail.detail = "why";
  return detail;
}

// As in the contract with users.
const std::map<std::string, int> k_contract{{"malformed_request", 400},
                                            {"invalid_field", 400},
                                            {"invalid_recipient", 400},
                                            {"app_unknown", 403},
                                            {"purpose_not_allowed", 403},
                                            {"cross_site", 403},
                                            {"not_found", 404},
                                            {"method_not_allowed", 405},
                                            {"too_large", 413},
                                            {"headers_too_large", 431},
                                            {"idempotency_mismatch", 409},
                                            {"challenge_closed", 409},
                                            {"message_closed", 409},
                                            {"template_unknown", 422},
                                            {"template_failed", 422},
                                            {"recipient_suppressed", 422},
                                            {"configuration_invalid", 422},
                                            {"rate_limited", 429},
                                            {"resend_cooldown", 429},
                                            {"sends_exhausted", 429},
                                            {"too_many_waits", 429},
                                            {"overloaded", 503},
                                            {"storage_unavailable", 503},
                                            {"shutting_down", 503},
                                            {"internal", 500}};

TEST_CASE("every problem has the status and code of the contract") {
  std::set<std::string> seen;
  for (int i = 0; i < k_problems; ++i) {
    const auto problem = static_cast<Problem>(i);
    const HttpResponse response = make_problem(detail_of(problem), "id-1");
    const json body = json::parse(response.body);
    const auto code = body.at("code").get<std::string>();
    INFO(code);
    seen.insert(code);
    CHECK(k_contract.at(code) == response.status);
    CHECK(body.at("status") == response.status);
    CHECK(body.at("type") == "urn:mailotpd:error:" + code);
    CHECK_FALSE(body.at("title").get<std::string>().empty());
    CHECK(body.at("detail") == "why");
    CHECK(body.at("request_id") == "id-1");
    CHECK_FALSE(body.contains("field"));
    const bool retry = response.status == 429 || response.status == 503;
    CHECK(body.contains("retry_after") == retry);
    CHECK(header(response, "Retry-After") == (retry ? "1" : ""));
    CHECK(response.content_type == "application/problem+json");
    CHECK_FALSE(reason_phrase(response.status).empty());
  }
  CHECK(seen.size() == k_contract.size());
}

TEST_CASE("a wait is given in whole seconds, rounded up") {
  const std::map<int, int> expected{{-5, 1}, {0, 1}, {1, 1}, {1000, 1}, {1001, 2}, {29999, 30}, {30000, 30}};
  for (const auto& [given, shown] : expected) {
    ProblemDetail detail = detail_of(Problem::resend_cooldown);
    detail.retry_after = std::chrono::milliseconds(given);
    const HttpResponse response = make_problem(detail, "id");
    CHECK(header(response, "Retry-After") == std::to_string(shown));
    CHECK(json::parse(response.body).at("retry_after") == shown);
  }
}

TEST_CASE("field, limit, headers and more members are carried") {
  ProblemDetail detail = detail_of(Problem::rate_limited);
  detail.field = "code.length";
  detail.limit = core::Limit{"recipient_sends", 3, core::Seconds(900), core::from_unix_ms(1'800'000'000'123)};
  detail.extra_headers.emplace_back("Allow", "GET");
  detail.extra_members.emplace_back("class", "user-unknown");
  detail.extra_members.emplace_back("probe_at", std::nullopt);
  const HttpResponse response = make_problem(detail, "id");
  const json body = json::parse(response.body);
  CHECK(body.at("field") == "code.length");
  CHECK(
      body.at("limit") ==
      json::parse(
          R"({"name":"recipient_sends","max":3,"period_seconds":900,"reset_at":"2027-01-15T08:00:00.123Z"})"));
  CHECK(header(response, "Allow") == "GET");
  CHECK(body.at("class") == "user-unknown");
  CHECK(body.at("probe_at").is_null());
}

TEST_CASE("bytes from outside cannot break the JSON") {
  ProblemDetail detail = detail_of(Problem::invalid_field);
  detail.detail = "\"\\\n\x01\xff";
  const json body = json::parse(make_problem(detail, "id").body);
  CHECK(body.at("detail") == "\"\\\n\x01\xef\xbf\xbd");
}

}  // namespace
}  // namespace mailotp::daemon
