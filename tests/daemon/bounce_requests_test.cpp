// What may be said about bounces and suppressions, and how it is shown.
#include "daemon/api/bounce_requests.h"

#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "daemon/api/answers.h"
#include "daemon/api/views.h"

using namespace mailotp;
using nlohmann::json;

namespace {

const core::WallTime k_now = core::from_unix_ms(1'795'176'000'000);  // 2026-11-20 12:00:00 UTC

daemon::BounceNotice notice(const std::string& body) {
  auto parsed = daemon::parse_bounce(body);
  INFO(body);
  if (!parsed) FAIL(parsed.error().detail);
  return std::move(*parsed);
}

// The field that a refusal names.
std::string refused(const std::string& body) {
  const auto parsed = daemon::parse_bounce(body);
  INFO(body);
  REQUIRE_FALSE(parsed);
  return parsed.error().field;
}

core::SuppressionView suppression() {
  core::SuppressionView view;
  view.address = "alice@example.net";
  view.app = "shop";
  view.since = k_now;
  view.until = k_now + core::Seconds{3600};
  return view;
}

}  // namespace

TEST_CASE("bounce requests: each action of RFC 3464") {
  const auto kind_of = [](const std::string& action) {
    return notice(R"({"envid":"e","action":")" + action + "\"}").recipient.kind;
  };
  CHECK(kind_of("failed") == core::BounceKind::bounce);
  CHECK(kind_of("delayed") == core::BounceKind::delay);
  for (const char* action : {"delivered", "relayed", "expanded"})
    CHECK(kind_of(action) == core::BounceKind::success);
}

TEST_CASE("bounce requests: the class and what it says of permanence") {
  const auto made = notice(R"({"message_id":"<m@example.org>","action":"failed","status":"5.1.1",
                              "diagnostic":"smtp; 550 5.1.1 no such user"})");
  CHECK(made.message_id == "<m@example.org>");
  CHECK(made.envid.empty());
  CHECK(made.recipient.address.empty());
  CHECK(made.recipient.bounce_class == core::BounceClass::user_unknown);
  CHECK(made.recipient.permanent == true);
  CHECK(made.recipient.status == "5.1.1");
  CHECK(made.recipient.diagnostic == "smtp; 550 5.1.1 no such user");
  CHECK(notice(R"({"envid":"e","action":"delayed","status":"4.2.2"})").recipient.permanent == false);
  CHECK(notice(R"({"envid":"e","action":"failed","diagnostic":"smtp; 450 later"})").recipient.permanent ==
        false);
  CHECK(notice(R"({"envid":"e","action":"failed","diagnostic":"554 no"})").recipient.permanent == true);
  CHECK_FALSE(notice(R"({"envid":"e","action":"failed","diagnostic":"2000 words"})").recipient.permanent);
  CHECK_FALSE(notice(R"({"envid":"e","action":"failed"})").recipient.permanent);
  const auto good = notice(R"({"envid":"e","action":"delivered","status":"2.1.5","diagnostic":"250 ok"})");
  CHECK_FALSE(good.recipient.permanent);
  CHECK(good.recipient.bounce_class == core::BounceClass::unknown);
}

TEST_CASE("bounce requests: words of the provider are printable and bounded") {
  const std::string words(2000, 'x');
  CHECK(notice(R"({"envid":"e","action":"failed","diagnostic":")" + words + "\"}")
            .recipient.diagnostic.size() == core::k_bounce_diagnostic);
  CHECK(notice(R"({"envid":"e","action":"failed","diagnostic":"a\nb\u0000"})").recipient.diagnostic ==
        "a\\x0ab\\x00");
  CHECK(refused(R"({"envid":"e","action":"failed","diagnostic":")" + words + "x\"}") == "diagnostic");
}

TEST_CASE("bounce requests: what is refused, by its field") {
  CHECK(refused(R"({"action":"failed"})") == "message_id");
  CHECK(refused(R"({"envid":"","message_id":null,"action":"failed"})") == "message_id");
  CHECK(refused(R"({"envid":"e"})") == "action");
  CHECK(refused(R"({"envid":"e","action":"bounced"})") == "action");
  CHECK(refused(R"({"envid":"e","action":"failed","recipient":"a@b.example"})") == "recipient");
  CHECK(refused(R"({"envid":1,"action":"failed"})") == "envid");
  for (const char* status :
       {"5", "5.1", "5.1.", "5..1", "6.1.1", "3.1.1", "5.1.1 ", "5.1.1.1", "5.1234.1", "x.1.1"})
    CHECK(refused(R"({"envid":"e","action":"failed","status":")" + std::string(status) + "\"}") == "status");
  CHECK(refused(R"({"envid":"e","action":"failed","status":"2.0.0"})") == "status");
  CHECK(refused(R"({"envid":"e","action":"delivered","status":"5.1.1"})") == "status");
  CHECK(daemon::parse_bounce("[]").error().problem == daemon::Problem::malformed_request);
}

TEST_CASE("suppression requests: a class, and a time to come") {
  const auto made =
      daemon::parse_suppression(R"({"class":"mailbox-full","until":"2026-11-20T12:00:01Z"})", k_now);
  REQUIRE(made);
  CHECK(made->bounce_class == core::BounceClass::mailbox_full);
  CHECK(made->until == k_now + core::Seconds{1});
  CHECK_FALSE(daemon::parse_suppression(R"({"class":"unknown","until":null})", k_now)->until);
  const auto field = [](const std::string& body) {
    return daemon::parse_suppression(body, k_now).error().field;
  };
  CHECK(field("{}") == "class");
  CHECK(field(R"({"class":"nice"})") == "class");
  CHECK(field(R"({"class":"spam","until":"2026-11-20T12:00:00Z"})") == "until");
  CHECK(field(R"({"class":"spam","until":"soon"})") == "until");
  CHECK(field(R"({"class":"spam","address":"a@b.example"})") == "address");
}

TEST_CASE("a suppressed recipient's refusal says why and until when, at its top level") {
  core::Refusal refusal;
  refusal.kind = core::RefusalKind::recipient_suppressed;
  refusal.suppression = suppression();
  const auto response = daemon::refusal_answer(refusal, "r");
  CHECK(response.status == 422);
  const json body = json::parse(response.body);
  CHECK(body["code"] == "recipient_suppressed");
  CHECK(body["class"] == "user-unknown");
  CHECK(body["until"] == "2026-11-20T13:00:00.000Z");
  CHECK(body["probe_at"].is_null());
}

TEST_CASE("views: a bounce, a suppression, a recipient") {
  core::BounceView bounce;
  bounce.at = k_now;
  bounce.source = core::BounceSource::provider;
  bounce.bounce_class = core::BounceClass::spam;
  bounce.weight = core::VerdictWeight::alarm;
  bounce.traced_by = core::TracedBy::message_token;
  bounce.status = "5.7.1";
  const json row = json::parse(daemon::bounce_json(bounce));
  CHECK(row == json::parse(R"({"at":"2026-11-20T12:00:00.000Z","source":"provider","recipient":null,
      "kind":"bounce","class":"spam","permanent":null,"status":"5.7.1","diagnostic":"","rule":"","message":null,
      "app":null,"weight":"alarm","traced_by":"message-token"})"));
  CHECK(json::parse(daemon::suppression_json(suppression())) ==
        json::parse(R"({"address":"alice@example.net","app":"shop","class":"user-unknown","source":"dsn",
      "since":"2026-11-20T12:00:00.000Z","until":"2026-11-20T13:00:00.000Z","probe_at":null,"times":1})"));
  core::SuppressionView own = suppression();
  own.by_operator = true;
  CHECK(json::parse(daemon::suppression_json(own))["source"] == "operator");
  core::RecipientView recipient;
  recipient.address = "alice@example.net";
  CHECK(json::parse(daemon::recipient_json(recipient)) ==
        json::parse(R"({"address":"alice@example.net","deliverable":"unknown","suppressed":null,
      "last_verdict":null})"));
  recipient.suppressed = suppression();
  CHECK(json::parse(daemon::recipient_json(recipient))["suppressed"] ==
        json::parse(R"({"class":"user-unknown","until":"2026-11-20T13:00:00.000Z","probe_at":null})"));
}
