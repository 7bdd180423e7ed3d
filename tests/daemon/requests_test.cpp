#include "daemon/api/requests.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace mailotp;
using daemon::Problem;

namespace {

core::Config config() {
  core::Config c;
  c.mail.locale = "en";
  c.purposes["login"] = {};
  core::PurposeConfig strong;
  strong.code = {8, core::Alphabet::digits};
  strong.max_attempts = 3;
  strong.ttl = core::Seconds{120};
  c.purposes["payment"] = strong;
  return c;
}

// No purposes of its own: all.
core::AppConfig any_app() {
  return {};
}

struct Bad {
  const char* body;
  Problem problem;
  const char* field;
};

}  // namespace

TEST_CASE("a recipient is enough, the rest is the purpose's") {
  const auto request = daemon::parse_create(R"({"recipient":"Alice@Example.ORG"})", config(), any_app());
  REQUIRE(request);
  CHECK(request->recipient.mailbox() == "Alice@example.org");
  CHECK(request->purpose == "login");
  CHECK(request->locale == "en");
  CHECK(request->template_name == "otp");
  CHECK(request->terms.ttl == core::Seconds{600});
  CHECK(request->terms.max_attempts == 5);
  CHECK(request->terms.code == core::CodeSpec{6, core::Alphabet::digits});
  CHECK(request->send == daemon::SendNow::yes);
  CHECK(request->variables.empty());
  CHECK(request->metadata.empty());
}

TEST_CASE("every field is read") {
  const auto request = daemon::parse_create(
      R"({"recipient":"a@b.example","purpose":"payment","locale":"de-AT","template":"x","data":{"name":"Alice"},
          "ttl_seconds":90,"max_attempts":2,"code":{"length":10,"alphabet":"crockford32"},
          "binding":{"session":"s","amount":"39.99 EUR"},"client":{"ip":"2001:db8::1","id":"device"},
          "metadata":{"b":[1,null]},"send":false,"suppressed":"probe"})",
      config(), any_app());
  REQUIRE(request);
  CHECK(request->locale == "de-AT");
  CHECK(request->template_name == "x");
  CHECK(request->variables.reveal() == R"({"name":"Alice"})");
  CHECK(request->terms.ttl == core::Seconds{90});
  CHECK(request->terms.max_attempts == 2);
  CHECK(request->terms.code == core::CodeSpec{10, core::Alphabet::crockford32});
  CHECK(request->metadata == R"({"b":[1,null]})");
  CHECK(request->send == daemon::SendNow::no);
  CHECK(request->suppressed == core::SuppressedUse::probe);
}

TEST_CASE("a suppressed address is refused unless the request says that its user confirmed it") {
  const auto use = [](const std::string& more) {
    return daemon::parse_create(R"({"recipient":"a@b.example")" + more + "}", config(), any_app())
        ->suppressed;
  };
  CHECK(use("") == core::SuppressedUse::refuse);
  CHECK(use(R"(,"suppressed":null)") == core::SuppressedUse::refuse);
  CHECK(use(R"(,"suppressed":"refuse")") == core::SuppressedUse::refuse);
  CHECK(use(R"(,"suppressed":"probe")") == core::SuppressedUse::probe);
}

TEST_CASE("the binding is canonical: the order of its fields does not matter") {
  const auto one = daemon::parse_check(R"({"code":"1","binding":{"b":"2", "a":"1"}})");
  const auto two = daemon::parse_check(R"({"binding":{"a":"1","b":"2"},"code":"1"})");
  REQUIRE(one);
  REQUIRE(two);
  CHECK(one->binding.reveal() == two->binding.reveal());
}

TEST_CASE("a life shorter than the useful minimum leaves half of it for sending") {
  const auto request =
      daemon::parse_create(R"({"recipient":"a@b.example","ttl_seconds":4})", config(), any_app());
  REQUIRE(request);
  CHECK(request->terms.usable_minimum == core::Seconds{2});
  const auto longer =
      daemon::parse_create(R"({"recipient":"a@b.example","ttl_seconds":90})", config(), any_app());
  REQUIRE(longer);
  CHECK(longer->terms.usable_minimum == core::Seconds{60});
}

TEST_CASE("what a creation refuses, and which field it names") {
  const Bad k_bad[] = {
      {"", Problem::malformed_request, ""},
      {"[]", Problem::malformed_request, ""},
      {"{}", Problem::invalid_field, "recipient"},
      {R"({"recipient":1})", Problem::invalid_field, "recipient"},
      {R"({"recipient":"a"})", Problem::invalid_recipient, "recipient"},
      {R"({"recipient":"a@b\r\nRCPT TO:<x@y>"})", Problem::invalid_recipient, "recipient"},
      {R"({"recipient":"ü@b.example"})", Problem::invalid_recipient, "recipient"},
      {R"({"recipient":"a@b.example","x":1})", Problem::invalid_field, "x"},
      {R"({"recipient":"a@b.example","purpose":"none"})", Problem::invalid_field, "purpose"},
      {R"({"recipient":"a@b.example","locale":"de_AT"})", Problem::invalid_field, "locale"},
      {R"({"recipient":"a@b.example","ttl_seconds":601})", Problem::invalid_field, "ttl_seconds"},
      {R"({"recipient":"a@b.example","ttl_seconds":0})", Problem::invalid_field, "ttl_seconds"},
      {R"({"recipient":"a@b.example","ttl_seconds":1.5})", Problem::invalid_field, "ttl_seconds"},
      {R"({"recipient":"a@b.example","ttl_seconds":18446744073709551615})", Problem::invalid_field,
       "ttl_seconds"},
      {R"({"recipient":"a@b.example","ttl_seconds":"60"})", Problem::invalid_field, "ttl_seconds"},
      {R"({"recipient":"a@b.example","max_attempts":6})", Problem::invalid_field, "max_attempts"},
      {R"({"recipient":"a@b.example","max_attempts":0})", Problem::invalid_field, "max_attempts"},
      {R"({"recipient":"a@b.example","code":{"length":5}})", Problem::invalid_field, "code.length"},
      {R"({"recipient":"a@b.example","code":{"length":13}})", Problem::invalid_field, "code.length"},
      {R"({"recipient":"a@b.example","code":{"alphabet":"letters"}})", Problem::invalid_field,
       "code.alphabet"},
      {R"({"recipient":"a@b.example","code":{"size":6}})", Problem::invalid_field, "code.size"},
      {R"({"recipient":"a@b.example","purpose":"payment","code":{"length":6}})", Problem::invalid_field,
       "code.length"},
      {R"({"recipient":"a@b.example","data":[]})", Problem::invalid_field, "data"},
      {R"({"recipient":"a@b.example","data":{"name":1}})", Problem::invalid_field, "data.name"},
      {R"({"recipient":"a@b.example","data":{"":"x"}})", Problem::invalid_field, "data"},
      {R"({"recipient":"a@b.example","binding":{"amount":39.99}})", Problem::invalid_field, "binding.amount"},
      {R"({"recipient":"a@b.example","client":{"ip":"localhost"}})", Problem::invalid_field, "client.ip"},
      {R"({"recipient":"a@b.example","client":{"ip":"192.0.2.1\u0000x"}})", Problem::invalid_field,
       "client.ip"},
      {R"({"recipient":"a@b.example","client":{"name":"x"}})", Problem::invalid_field, "client.name"},
      {R"({"recipient":"a@b.example","send":"yes"})", Problem::invalid_field, "send"},
      {R"({"recipient":"a@b.example","suppressed":"no"})", Problem::invalid_field, "suppressed"},
  };
  const core::Config with = config();
  for (const Bad& bad : k_bad) {
    INFO(bad.body);
    const auto request = daemon::parse_create(bad.body, with, any_app());
    REQUIRE_FALSE(request);
    CHECK(request.error().problem == bad.problem);
    CHECK(request.error().field == bad.field);
    CHECK_FALSE(request.error().detail.empty());
  }
  const std::string large = R"({"recipient":"a@b.example","metadata":")" + std::string(4096, 'x') + "\"}";
  const auto request = daemon::parse_create(large, with, any_app());
  REQUIRE_FALSE(request);
  CHECK(request.error().field == "metadata");
}

TEST_CASE("a letter alphabet of fewer characters is as good as the bits that it gives") {
  CHECK(daemon::parse_create(R"({"recipient":"a@b.example","code":{"length":4,"alphabet":"crockford32"}})",
                             config(), any_app()));
}

TEST_CASE("a code is a string: as a number it would have lost its zeros") {
  const auto request = daemon::parse_check(R"({"code":123456})");
  REQUIRE_FALSE(request);
  CHECK(request.error().field == "code");
}

TEST_CASE("no refusal of a check repeats the code") {
  for (const char* body :
       {R"({"code":"73519264" )", R"({"code":"73519264","x":1})", R"({"code":"73519264","binding":1})"}) {
    const auto request = daemon::parse_check(body);
    REQUIRE_FALSE(request);
    CHECK(request.error().detail.find("73519264") == std::string::npos);
  }
}

TEST_CASE("the short form has its own names") {
  CHECK(daemon::parse_generate(R"({"email":"a@b.example"})", config(), any_app()));
  CHECK_FALSE(daemon::parse_generate(R"({"recipient":"a@b.example"})", config(), any_app()));
  CHECK(daemon::parse_verify(R"({"email":"a@b.example","otp":"123456"})", config(), any_app()));
  CHECK_FALSE(daemon::parse_verify(R"({"email":"a@b.example","code":"123456"})", config(), any_app()));
}

TEST_CASE("an app uses its own purposes only, in each call that names one") {
  core::AppConfig app;
  app.purposes = {"payment"};
  const auto faults = [&app](const std::string& purpose) {
    const std::string more = purpose.empty() ? "}" : R"(,"purpose":")" + purpose + "\"}";
    const auto created = daemon::parse_create(R"({"recipient":"a@b.example")" + more, config(), app);
    const auto generated = daemon::parse_generate(R"({"email":"a@b.example")" + more, config(), app);
    const auto verified =
        daemon::parse_verify(R"({"email":"a@b.example","otp":"123456")" + more, config(), app);
    std::vector<daemon::ProblemDetail> found;
    if (!created) found.push_back(created.error());
    if (!generated) found.push_back(generated.error());
    if (!verified) found.push_back(verified.error());
    return found;
  };
  CHECK(faults("payment").empty());
  for (const char* purpose : {"login", ""}) {
    const auto found = faults(purpose);
    REQUIRE(found.size() == 3);
    for (const auto& fault : found) {
      CHECK(fault.problem == Problem::purpose_not_allowed);
      CHECK(fault.detail == "this app may not use the purpose \"login\"; its own are payment");
    }
  }
  const auto found = faults("signup");
  REQUIRE(found.size() == 3);
  CHECK(found.front().problem == Problem::invalid_field);
}

TEST_CASE("a call without a body takes none, or an empty object") {
  CHECK(daemon::parse_nothing(""));
  CHECK(daemon::parse_nothing("{}"));
  CHECK_FALSE(daemon::parse_nothing("[]"));
  CHECK_FALSE(daemon::parse_nothing(R"({"a":1})"));
}

TEST_CASE("a message needs a recipient and a template; it has five days") {
  const core::WallTime now = core::from_unix_ms(1'795'176'000'000);  // 2026-11-20 12:00:00 UTC
  const auto least = daemon::parse_message(R"({"recipient":"a@b.example","template":"w"})", config(), now);
  REQUIRE(least);
  CHECK(least->recipient.mailbox() == "a@b.example");
  CHECK(least->template_name == "w");
  CHECK(least->locale == "en");
  CHECK(least->variables.empty());
  CHECK(least->metadata.empty());
  CHECK(least->not_after == now + core::Seconds{5 * 86400});
  const auto full = daemon::parse_message(
      R"({"recipient":"a@b.example","template":"w","locale":"de","data":{"b":"2","a":"1"},
          "not_after":"2026-11-20T14:00:00.500+01:00","metadata":[1]})",
      config(), now);
  REQUIRE(full);
  CHECK(full->locale == "de");
  CHECK(full->variables.reveal() == R"({"a":"1","b":"2"})");
  CHECK(full->not_after == now + core::Millis{3'600'500});
  CHECK(full->metadata == "[1]");
}

TEST_CASE("what a message refuses, and where") {
  const core::WallTime now = core::from_unix_ms(1'795'176'000'000);
  const Bad bad = GENERATE(
      Bad{R"({"template":"w"})", Problem::invalid_field, "recipient"},
      Bad{R"({"recipient":"nobody","template":"w"})", Problem::invalid_recipient, "recipient"},
      Bad{R"({"recipient":"a@b.example"})", Problem::invalid_field, "template"},
      Bad{R"({"recipient":"a@b.example","template":""})", Problem::invalid_field, "template"},
      Bad{R"({"recipient":"a@b.example","template":1})", Problem::invalid_field, "template"},
      Bad{R"({"recipient":"a@b.example","template":"w","locale":"d/e"})", Problem::invalid_field, "locale"},
      Bad{R"({"recipient":"a@b.example","template":"w","data":{"a":1}})", Problem::invalid_field, "data.a"},
      Bad{R"({"recipient":"a@b.example","template":"w","not_after":"soon"})", Problem::invalid_field,
          "not_after"},
      Bad{R"({"recipient":"a@b.example","template":"w","not_after":1795176000})", Problem::invalid_field,
          "not_after"},
      Bad{R"({"recipient":"a@b.example","template":"w","not_after":"2026-11-20T12:00:00Z"})",
          Problem::invalid_field, "not_after"},
      Bad{R"({"recipient":"a@b.example","template":"w","not_after":"2026-11-25T12:00:00.001Z"})",
          Problem::invalid_field, "not_after"},
      Bad{R"({"recipient":"a@b.example","template":"w","purpose":"login"})", Problem::invalid_field,
          "purpose"},
      Bad{R"({"recipient":"a@b.example","template":"w","ttl_seconds":60})", Problem::invalid_field,
          "ttl_seconds"});
  CAPTURE(bad.body);
  const auto parsed = daemon::parse_message(bad.body, config(), now);
  REQUIRE_FALSE(parsed);
  CHECK(parsed.error().problem == bad.problem);
  CHECK(parsed.error().field == bad.field);
}
