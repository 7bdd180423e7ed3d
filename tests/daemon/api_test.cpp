// Views and the router.
#include <cstdint>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "daemon/api/json_writer.h"
#include "daemon/api/views.h"

using namespace mailotp;
using nlohmann::json;

namespace {

core::ChallengeView challenge() {
  core::ChallengeView view;
  view.recipient = "a@b.example";
  view.app = "default";
  view.purpose = "login";
  view.state = core::ChallengeState::otp_sent;
  view.attempts_left = 5;
  view.sends_left = 4;
  view.revision = 2;
  return view;
}

}  // namespace

TEST_CASE("a challenge has exactly the fields of the contract") {
  const json value = json::parse(daemon::challenge_json(challenge()));
  const json fields = {"id",         "app",        "recipient",     "purpose",    "state",
                       "created_at", "expires_at", "attempts_left", "sends_left", "resend_at",
                       "revision",   "metadata",   "message"};
  CHECK(value.size() == fields.size());
  for (const auto& field : fields)
    CHECK(value.contains(field.get<std::string>()));
  CHECK(value["message"].is_null());
  CHECK(value["metadata"].is_null());
}

TEST_CASE("reply, verdict and metadata are shown as they are, whatever bytes a relay sent") {
  core::ChallengeView view = challenge();
  view.metadata = R"({"order":[1,2]})";
  view.message.emplace();
  view.message->reply = core::Reply{550, "5.1.1", "no such \xff user"};
  view.message->verdict = core::Verdict{
      core::VerdictKind::undeliverable, "user-unknown", true, "5.1.1", "no", core::VerdictSource::smtp, {}};
  const json value = json::parse(daemon::challenge_json(view));
  CHECK(value["metadata"]["order"][1] == 2);
  CHECK(value["message"]["reply"]["code"] == 550);
  CHECK(value["message"]["verdict"]["kind"] == "undeliverable");
  CHECK(value["message"]["verdict"]["class"] == "user-unknown");
  CHECK(value["message"]["verdict"]["permanent"] == true);
  CHECK(value["message"]["verdict"]["source"] == "smtp");
}

TEST_CASE("an address without a challenge gets the answer of a first wrong guess") {
  core::CheckAnswer known;
  known.result = core::CheckResult::invalid;
  known.attempts_left = 4;
  known.state = core::ChallengeState::otp_invalid;
  CHECK(daemon::check_json(core::CheckAnswer{}, 5) == daemon::check_json(known, 5));
  known.attempts_left = 0;
  known.state = core::ChallengeState::otp_exhausted;
  CHECK(daemon::check_json(core::CheckAnswer{}, 1) == daemon::check_json(known, 1));
}

TEST_CASE("a written text has the bytes that the library would give it") {
  std::vector<std::string> texts{"",
                                 "plain text",
                                 "\"quoted\" and \\",
                                 "caf\xc3\xa9 \xf0\x9f\x93\xa7",
                                 "a\tb\r\n\b\f",
                                 std::string("nul\0inside", 10),
                                 "\x7f",
                                 "\xe2\x82",
                                 "cut \xe2\x82 short",
                                 "\xed\xa0\x80",
                                 "\xc0\xaf",
                                 "\xff\xfe"};
  for (int c = 0; c < 256; ++c)
    texts.push_back("a" + std::string(1, static_cast<char>(c)) + "z");
  for (const std::string& text : texts) {
    daemon::JsonWriter out;
    out.value(text);
    CHECK(out.take() == json(text).dump(-1, ' ', false, json::error_handler_t::replace));
  }
}

TEST_CASE("objects, arrays and their values are separated as JSON wants it") {
  daemon::JsonWriter out;
  out.begin_object();
  out.field("none", nullptr);
  out.field("yes", true);
  out.field("least", INT64_MIN);
  out.field("most", UINT64_MAX);
  out.key("list");
  out.begin_array();
  out.begin_object();
  out.end_object();
  out.begin_object();
  out.field("word", "x");
  out.end_object();
  out.raw("[1]");
  out.end_array();
  out.key("empty");
  out.begin_array();
  out.end_array();
  out.field("last", 0);
  out.end_object();
  CHECK(out.take() == R"({"none":null,"yes":true,"least":-9223372036854775808,"most":18446744073709551615,)"
                      R"("list":[{},{"word":"x"},[1]],"empty":[],"last":0})");
}

TEST_CASE("a challenge and a check are told in these bytes") {
  core::ChallengeView view = challenge();
  view.metadata = R"({"a": "b"})";
  view.message.emplace();
  view.message->reply = core::Reply{0, "", "no \xff"};
  CHECK(daemon::challenge_json(view) ==
        R"({"id":"00000000-0000-0000-0000-000000000000","app":"default","recipient":"a@b.example",)"
        R"("purpose":"login","state":"otp_sent","created_at":"1970-01-01T00:00:00.000Z",)"
        R"("expires_at":"1970-01-01T00:00:00.000Z","attempts_left":5,"sends_left":4,"resend_at":null,)"
        R"("revision":2,"metadata":{"a":"b"},"message":{"id":"00000000-0000-0000-0000-000000000000",)"
        R"("state":"queued","current":true,"attempts":0,"next_attempt_at":null,)"
        R"("reply":{"code":null,"status":"","text":"no )"
        "\xef\xbf\xbd"
        R"("},"verdict":null}})");
  CHECK(daemon::check_json(core::CheckAnswer{}, 5) ==
        R"({"valid":false,"result":"invalid","attempts_left":4,"state":"otp_invalid","metadata":null})");
}
