// Views and the router.
#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

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
