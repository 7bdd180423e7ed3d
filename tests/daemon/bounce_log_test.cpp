// What is told of bounces: never an address, never what the far side wrote; alarms are counted.
#include "daemon/app/bounce_log.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

using namespace mailotp;

namespace {

struct Lines final : core::Log {
  void write(core::LogLevel level, std::string_view line) override {
    if (line.starts_with("event=bounce_alarm")) {
      CHECK(level == core::LogLevel::warning);
      alarms.emplace_back(line);
    } else {
      events.emplace_back(line);
    }
  }
  std::vector<std::string> events, alarms;
};

daemon::LogRecipients recipients_with(char key, core::LogLevel least) {
  auto made = daemon::LogRecipients::create(core::Secret(std::string(32, key)), least);
  REQUIRE(made);
  return std::move(*made);
}

struct Fixture {
  explicit Fixture(core::Millis period) {
    REQUIRE(uv_loop_init(&loop) == 0);
    bounces.emplace(&loop, recipients, log, period);
  }
  ~Fixture() {
    bounces.reset();
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop) == 0);
  }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;
  uv_loop_t loop{};
  Lines log;
  daemon::LogRecipients recipients = recipients_with('k', core::LogLevel::info);
  std::optional<daemon::BounceLog> bounces;
};

core::BounceNews news(core::BounceClass why, core::VerdictWeight weight) {
  core::BounceNews made;
  made.bounce.bounce_class = why;
  made.bounce.weight = weight;
  made.bounce.permanent = true;
  made.bounce.status = "5.7.1";
  made.bounce.recipient = "alice.secret@example.net";
  made.bounce.diagnostic = "550 alice.secret is blocked";
  made.bounce.message = core::parse_id("0190b5a0-7c1e-7e3a-9f00-0123456789ab").value();
  made.relay = "primary";
  return made;
}

}  // namespace

TEST_CASE("bounce log: one line an event, without the address and the diagnostic") {
  Fixture f(core::Seconds{60});
  f.bounces->write({news(core::BounceClass::user_unknown, core::VerdictWeight::hard)});
  REQUIRE(f.log.events.size() == 1);
  CHECK(f.log.events[0] ==
        "event=bounce source=dsn kind=bounce class=user-unknown permanent=yes status=5.7.1 weight=hard "
        "message=0190b5a0-7c1e-7e3a-9f00-0123456789ab " +
            f.recipients.fields("alice.secret@example.net"));
  CHECK(f.log.events[0].find("alice") == std::string::npos);
  CHECK(f.log.alarms.empty());
}

TEST_CASE("bounce log: what a stranger's mail names cannot forge a field") {
  Fixture f(core::Seconds{60});
  core::BounceNews forged;
  forged.bounce.recipient = "x@example.net event=started";
  forged.bounce.status = "5.1.1 weight=hard";
  f.bounces->write({forged});
  forged.bounce.recipient = "nobody";
  forged.bounce.status.clear();
  f.bounces->write({forged});
  forged.bounce.recipient = "x@" + std::string(300, 'd');
  forged.bounce.permanent = false;
  f.bounces->write({forged});
  REQUIRE(f.log.events.size() == 3);
  CHECK(
      f.log.events[0] ==
      "event=bounce source=dsn kind=bounce class=unknown permanent=unknown status=- weight=none message=- " +
          f.recipients.fields("x@example.net event=started"));
  for (const std::string& line : f.log.events) {
    CHECK(line.ends_with(" domain=-"));
    CHECK(line.find("started") == std::string::npos);
  }
  CHECK(f.log.events[2].find("permanent=no status=- weight=none message=- recipient_hash=") !=
        std::string::npos);
}

TEST_CASE("a recipient in a log: one hash for all spellings, another under another key") {
  auto names = recipients_with('k', core::LogLevel::info);
  const std::string alice = names.fields("alice@example.net");
  CHECK(alice.size() == std::string("recipient_hash=0123456789abcdef domain=example.net").size());
  CHECK(alice.ends_with(" domain=example.net"));
  CHECK(alice.find("alice") == std::string::npos);
  CHECK(names.fields("ALICE@Example.NET") == alice);
  CHECK(names.fields("alise@example.net") != alice);
  CHECK(recipients_with('l', core::LogLevel::info).fields("alice@example.net") != alice);
}

TEST_CASE("a recipient in a log: in debug in full, and nothing that could pass for a field") {
  auto names = recipients_with('k', core::LogLevel::info);
  auto in_full = recipients_with('k', core::LogLevel::debug);
  CHECK(in_full.fields("Alice@example.net") ==
        names.fields("alice@example.net") + " recipient=\"Alice@example.net\"");
  const std::string odd = in_full.fields("\"a b\"@example.net");
  CHECK(std::count(odd.begin(), odd.end(), '"') == 2);
  CHECK(in_full.fields("x\" event=started") == names.fields("x\" event=started"));
}

TEST_CASE("bounce log: an alarm at once, the next ones with their count, once a period and class") {
  Fixture f(core::Millis{50});
  const auto spam = news(core::BounceClass::spam, core::VerdictWeight::alarm);
  const auto auth = news(core::BounceClass::auth, core::VerdictWeight::alarm);
  f.bounces->write({spam, spam, auth, spam});
  REQUIRE(f.log.alarms.size() == 2);
  CHECK(f.log.alarms[0] == "event=bounce_alarm class=spam relay=primary status=5.7.1 count=1");
  CHECK(f.log.alarms[1] == "event=bounce_alarm class=auth relay=primary status=5.7.1 count=1");
  CHECK(f.log.events.size() == 4);
  while (f.log.alarms.size() < 3)
    (void)uv_run(&f.loop, UV_RUN_ONCE);
  CHECK(f.log.alarms[2] == "event=bounce_alarm class=spam relay=primary status=5.7.1 count=2");
  (void)uv_run(&f.loop, UV_RUN_DEFAULT);  // until the periods are over
  CHECK(f.log.alarms.size() == 3);
  f.bounces->write({auth});
  CHECK(f.log.alarms.size() == 4);
}
