// Limits: exact windows, counted in the commit of what they count, under keys that tell nothing.
#include <algorithm>
#include <fstream>
#include <sstream>

#include <catch2/catch.hpp>
#include <rapidcheck.h>

#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using namespace std::chrono_literals;
using core::CheckResult;
using core::RefusalKind;

namespace {

struct LimitedStore : StoreFixture {
  LimitedStore() {
    limits.common.recipient_sends = {{3, 900s}, {5, 3600s}};
    limits.common.recipient_failures = {{4, 3600s}};
    limits.common.client_sends = {{6, 3600s}};
    reopen();
  }
  void reopen() {
    close();
    open();
    REQUIRE(store->recover(now));
  }
  core::CreateChallenge from(const std::string& mailbox, const std::string& network,
                             const std::string& device = {}) {
    core::CreateChallenge command = create_command(mailbox);
    command.client = {network, device};
    return command;
  }
  bool sends(const std::string& mailbox, const std::string& network = {}) {
    return std::holds_alternative<core::ChallengeAnswer>(*run(from(mailbox, network)));
  }
  core::Limit limit_of(core::Command command) {
    const core::Refusal refused = refusal(std::move(command));
    REQUIRE(refused.kind == RefusalKind::rate_limited);
    REQUIRE(refused.limit);
    CHECK(refused.retry_after == refused.limit->reset_at - now);
    return *refused.limit;
  }
  // A wrong guess at a challenge of its own.
  core::Outcome guess(const std::string& typed, const std::string& device = {},
                      const std::string& mailbox = "alice@example.org") {
    const core::ChallengeView made = challenge_answer(from(mailbox, {}, device)).challenge;
    return run(check_command(made.id, typed == "right" ? last_code : typed));
  }
};

bool is_limited(const core::Outcome& outcome) {
  const auto* refused = outcome ? std::get_if<core::Refusal>(&*outcome) : nullptr;
  return refused != nullptr && refused->kind == RefusalKind::rate_limited;
}

}  // namespace

TEST_CASE("a window is exact to the millisecond, and says when it opens") {
  LimitedStore f;
  const core::WallTime first = f.now;
  for (int i = 0; i < 3; ++i) {
    CHECK(f.sends("alice@example.org"));
    f.now += 10s;
  }
  const core::Limit limit = f.limit_of(f.create_command());
  CHECK(limit.name == "recipient_sends");
  CHECK(limit.max == 3);
  CHECK(limit.period == 900s);
  CHECK(limit.reset_at == first + 900s);
  f.now = first + 900s - 1ms;
  CHECK_FALSE(f.sends("alice@example.org"));
  f.now += 1ms;
  CHECK(f.sends("alice@example.org"));
  CHECK_FALSE(f.sends("alice@example.org"));
}

TEST_CASE("of several limits the one that stays full the longest is named") {
  LimitedStore f;
  const core::WallTime first = f.now;
  for (int i = 0; i < 5; ++i) {
    CHECK(f.sends("alice@example.org"));
    f.now += 400s;
  }
  const core::Limit limit = f.limit_of(f.create_command());
  CHECK(limit.max == 5);
  CHECK(limit.period == 3600s);
  CHECK(limit.reset_at == first + 3600s);
}

TEST_CASE("what is refused is neither written nor counted") {
  LimitedStore f;
  for (int i = 0; i < 3; ++i)
    CHECK(f.sends("alice@example.org"));
  const std::int64_t accepted = f.stats().accepted_total;
  for (int i = 0; i < 50; ++i)
    CHECK_FALSE(f.sends("alice@example.org", "192.0.2.1"));
  CHECK(f.stats().accepted_total == accepted);
  // Not counted for the client's network either.
  for (int i = 0; i < 6; ++i)
    CHECK(f.sends("user" + std::to_string(i) + "@example.org", "192.0.2.1"));
  CHECK_FALSE(f.sends("other@example.org", "192.0.2.1"));
  CHECK(f.sends("other@example.org", "192.0.2.2"));
}

TEST_CASE("another spelling of the address has no budget of its own") {
  LimitedStore f;
  CHECK(f.sends("alice@example.org"));
  CHECK(f.sends("ALICE@Example.ORG"));
  CHECK(f.sends("alice+anything@example.org"));
  CHECK_FALSE(f.sends("Alice+else@example.org"));
  CHECK_FALSE(f.sends("alice@example.org"));
  CHECK(f.sends("a.lice@example.org"));
  CHECK(f.sends("a.lice@gmail.com"));
  CHECK(f.sends("al.ice@gmail.com"));
  CHECK(f.sends("alice@gmail.com"));
  CHECK_FALSE(f.sends("a.l.i.c.e@gmail.com"));
}

TEST_CASE("apps and purposes have budgets of their own") {
  LimitedStore f;
  for (int i = 0; i < 3; ++i)
    CHECK(f.sends("alice@example.org"));
  core::CreateChallenge other = f.create_command();
  other.purpose = "recovery";
  CHECK(std::holds_alternative<core::ChallengeAnswer>(*f.run(std::move(other))));
  core::CreateChallenge app = f.create_command();
  app.app = "other";
  CHECK(std::holds_alternative<core::ChallengeAnswer>(*f.run(std::move(app))));
  CHECK_FALSE(f.sends("alice@example.org"));
}

TEST_CASE("a resend counts, also for the network that asked first") {
  LimitedStore f;
  f.limits.common.recipient_sends.clear();
  f.limits.common.client_sends = {{2, 3600s}};
  f.reopen();
  const core::ChallengeView made =
      f.challenge_answer(f.from("alice@example.org", "2001:db8:1:2::/64")).challenge;
  f.now += 30s;
  (void)f.challenge_answer(f.send_command(made.id));
  f.now += 30s;
  CHECK(f.limit_of(f.send_command(made.id)).name == "client_sends");
  CHECK_FALSE(f.sends("bob@example.org", "2001:db8:1:2::/64"));
}

TEST_CASE("a resend in the short form counts for who asks for it, not for who asked first") {
  LimitedStore f;
  f.limits.common.recipient_sends.clear();
  f.limits.common.client_sends = {{2, 3600s}};
  f.reopen();
  const auto generate = [&](const std::string& network) {
    core::CreateChallenge command = f.from("alice@example.org", network);
    command.reuse = core::CreateChallenge::Reuse::open_one;
    f.now += 30s;
    command.at = f.now;
    return is_limited(f.run(std::move(command)));
  };
  CHECK_FALSE(generate("192.0.2.1"));
  CHECK_FALSE(generate("192.0.2.2"));
  CHECK_FALSE(generate("192.0.2.2"));
  CHECK(generate("192.0.2.2"));
  CHECK_FALSE(generate("192.0.2.1"));
  CHECK(generate("192.0.2.1"));
}

TEST_CASE("a clock that was ahead leaves nobody locked out") {
  LimitedStore f;
  const core::WallTime right = f.now;
  f.now = right + 365 * 24h;
  for (int i = 0; i < 3; ++i)
    CHECK(f.sends("alice@example.org"));
  CHECK_FALSE(f.sends("alice@example.org"));
  f.now = right;
  for (int i = 0; i < 3; ++i)
    CHECK(f.sends("alice@example.org"));
  CHECK_FALSE(f.sends("alice@example.org"));
}

TEST_CASE("a challenge shows the smaller of what it and the limits leave") {
  LimitedStore f;
  const core::WallTime first = f.now;
  const core::ChallengeView one = f.created();
  CHECK(one.sends_left == 2);  // of its own it has four
  f.now += 1s;
  const core::ChallengeView two = f.created();
  CHECK(two.sends_left == 1);
  f.now += 1s;
  (void)f.created();
  CHECK(f.view(one.id).sends_left == 0);
  // Its life ends before there is room again.
  CHECK_FALSE(f.view(one.id).resend_at);
  f.limits.common.recipient_sends = {{3, 120s}};
  f.reopen();
  CHECK(f.view(one.id).resend_at == first + 120s);
  f.now = first + 120s;
  CHECK(f.view(one.id).sends_left == 1);
}

TEST_CASE("apps and all together have limits when they are set, mails without a code among them") {
  LimitedStore f;
  f.limits.common.recipient_sends.clear();
  f.limits.common.app_sends = {{2, 60s}};
  f.limits.common.global_sends = {{3, 60s}};
  f.reopen();
  const auto sends_by = [&](const std::string& app) {
    core::CreateChallenge command = f.create_command();
    command.app = app;
    return f.run(std::move(command));
  };
  CHECK_FALSE(is_limited(sends_by("shop")));
  core::CreateMessage mail;
  mail.at = f.now;
  mail.id = f.ids.next(f.now);
  mail.app = "shop";
  mail.recipient = *core::parse_address("alice@example.org");
  mail.template_name = "welcome";
  mail.not_after = f.now + 3600s;
  mail.mail = *f.composer.compose({});
  CHECK_FALSE(is_limited(f.run(std::move(mail))));
  CHECK(is_limited(sends_by("shop")));
  CHECK_FALSE(is_limited(sends_by("other")));
  CHECK(f.limit_of(f.create_command()).name == "app_sends");
  core::CreateChallenge third = f.create_command();
  third.app = "third";
  CHECK(f.limit_of(std::move(third)).name == "global_sends");
}

TEST_CASE("windows survive a restart, a step of the clock and another key") {
  LimitedStore f;
  const core::WallTime first = f.now;
  for (int i = 0; i < 3; ++i)
    CHECK(f.sends("alice@example.org"));
  f.reopen();
  CHECK_FALSE(f.sends("alice@example.org"));
  const core::Millis step = GENERATE(core::Millis{3'600'000}, core::Millis{-3'600'000});
  f.done(core::ShiftClock{f.now, step, {"boot", step}});
  f.now += step;
  CHECK(f.limit_of(f.create_command()).reset_at == first + step + 900s);
  f.close();
  f.open(key_ring({'n', 'k'}));
  REQUIRE(f.store->recover(f.now));
  CHECK_FALSE(f.sends("alice@example.org"));
  f.close();
  f.now += 700s;
  f.done([&] {
    f.open(key_ring({'n', 'k'}));
    REQUIRE(f.store->recover(f.now));
    return core::Sweep{f.now};
  }());
  f.close();
  f.open(key_ring({'n'}));  // the old one is gone
  REQUIRE(f.store->recover(f.now));
  CHECK_FALSE(f.sends("alice@example.org"));
  f.now += 200s;
  CHECK(f.sends("alice@example.org"));
}

TEST_CASE("wrong codes are budgeted across challenges; the right one is refused, too, and not compared") {
  LimitedStore f;
  f.limits.common.recipient_sends.clear();
  f.reopen();
  const core::WallTime first = f.now;
  for (int i = 0; i < 4; ++i)
    CHECK(std::holds_alternative<core::CheckAnswer>(*f.guess("wrong")));
  const core::ChallengeView made = f.created("ALICE+spelled@example.org");
  const std::string code = f.last_code;
  const core::Limit limit = f.limit_of(f.check_command(made.id, code));
  CHECK(limit.name == "recipient_failures");
  CHECK(limit.reset_at == first + 3600s);
  CHECK(f.view(made.id).attempts_left == 5);
  f.reopen();
  CHECK(is_limited(f.run(f.check_command(made.id, code))));
  // The short form, with or without a challenge.
  core::CheckCode by_address = f.check_command(made.id, code);
  by_address.id.reset();
  by_address.purpose = "login";
  by_address.recipient = core::parse_address("alice@example.org").value();
  CHECK(is_limited(f.run(std::move(by_address))));
}

TEST_CASE("a stranger's failures do not lock out a device that is known") {
  LimitedStore f;
  f.limits.common.recipient_sends.clear();
  f.reopen();
  const auto right = f.guess("right", "phone");
  CHECK(std::get<core::CheckAnswer>(*right).result == CheckResult::valid);
  for (int i = 0; i < 6; ++i)
    (void)f.guess("wrong", "stranger" + std::to_string(i));
  CHECK(is_limited(f.guess("right", "another stranger")));
  CHECK(std::get<core::CheckAnswer>(*f.guess("right", "phone")).result == CheckResult::valid);
  // Its own failures are counted, too.
  for (int i = 0; i < 4; ++i)
    CHECK_FALSE(is_limited(f.guess("wrong", "phone")));
  CHECK(is_limited(f.guess("right", "phone")));
  f.now += 3600s;
  CHECK_FALSE(is_limited(f.guess("right", "phone")));
  // Of another address it is a stranger.
  for (int i = 0; i < 4; ++i)
    (void)f.guess("wrong", "x", "bob@example.org");
  CHECK(is_limited(f.guess("right", "phone", "bob@example.org")));
}

TEST_CASE("a device is known for ninety days, by the check's word where it has one") {
  LimitedStore f;
  f.limits.common.recipient_sends.clear();
  f.reopen();
  CHECK_FALSE(is_limited(f.guess("right", "phone")));
  f.now += core::k_device_memory - 1s;
  for (int i = 0; i < 4; ++i)
    (void)f.guess("wrong");
  const core::ChallengeView made = f.created();
  core::CheckCode named = f.check_command(made.id, "wrong");
  named.client_id = "phone";
  CHECK_FALSE(is_limited(f.run(std::move(named))));
  CHECK(is_limited(f.run(f.check_command(made.id, "wrong"))));
  f.now += 1s;
  const core::ChallengeView later = f.created();
  core::CheckCode forgotten = f.check_command(later.id, "wrong");
  forgotten.client_id = "phone";
  CHECK(is_limited(f.run(std::move(forgotten))));
}

TEST_CASE("a budget's keys tell neither address nor device nor network") {
  LimitedStore f;
  (void)f.run(f.from("alice@example.org", "192.0.2.77", "device-of-alice"));
  f.close();
  std::ostringstream bytes;
  bytes << std::ifstream(f.database_path(), std::ios::binary).rdbuf();
  CHECK(bytes.str().find("alice@example.org") != std::string::npos);  // the search finds what is there
  CHECK(bytes.str().find("192.0.2.77") == std::string::npos);
  CHECK(bytes.str().find("device-of-alice") == std::string::npos);
  Database db(f.database_path());
  CHECK(db.value("SELECT count(*) FROM usage WHERE length(key) = 16") == "2");
  CHECK(db.value("SELECT count(*) FROM challenge WHERE length(sends_key) = 16 AND length(network_key) = 16 "
                 "AND length(device_key) = 16") == "1");
}

TEST_CASE("logs that no window needs are removed, whatever their order") {
  LimitedStore f;
  for (int i = 0; i < 30; ++i)
    CHECK(f.sends("user" + std::to_string(i) + "@example.org"));
  const auto rows = [&] { return Database(f.database_path()).rows("SELECT 1 FROM usage").size(); };
  CHECK(rows() == 30);
  const auto purged = [&] {
    for (int i = 0; i < 40; ++i)
      (void)f.run(core::Purge{.at = f.now, .limit = 2});
  };
  purged();
  CHECK(rows() == 30);
  f.now += 3599s;
  CHECK(f.sends("late@example.org"));
  purged();
  CHECK(rows() == 31);
  f.now += 1s;
  purged();
  CHECK(rows() == 1);
}

TEST_CASE("a log that cannot be read keeps nobody out") {
  LimitedStore f;
  CHECK(f.sends("alice@example.org"));
  f.close();
  Database(f.database_path()).run("UPDATE usage SET times = x'00'");
  f.open();
  REQUIRE(f.store->recover(f.now));
  CHECK(f.sends("alice@example.org"));
  CHECK(f.last.unreadable == 1);
  CHECK(f.sends("alice@example.org"));
  CHECK(f.last.unreadable == 0);
}

// Against a list of all times: any rates, any pauses, several uses a commit and a millisecond, restarts.
TEST_CASE("a window lets through what a list of all times would") {
  const bool held = rc::check([] {
    LimitedStore f;
    const auto rate = [] {
      return core::Rate{*rc::gen::inRange(1, 80), core::Seconds{*rc::gen::inRange(1, 100)}};
    };
    f.limits = no_limits();
    f.limits.common.app_sends = {rate(), rate()};
    f.reopen();
    std::vector<core::WallTime> uses;
    for (int batches = *rc::gen::inRange(1, 4); batches > 0; --batches) {
      if (*rc::gen::inRange(0, 2) == 0) f.reopen();
      std::vector<core::Command> batch;
      std::vector<bool> fits;
      for (int i = *rc::gen::inRange(1, 120); i > 0; --i) {
        f.now += core::Millis{*rc::gen::elementOf(std::vector<int>{0, 0, 0, 1, 10, 500, 3000})};
        fits.push_back(std::ranges::all_of(f.limits.common.app_sends, [&](const core::Rate& r) {
          return std::ranges::count_if(uses, [&](core::WallTime t) { return t + r.period > f.now; }) < r.max;
        }));
        if (fits.back()) uses.push_back(f.now);
        batch.emplace_back(f.create_command("u" + std::to_string(batch.size()) + "@example.org"));
      }
      const core::Committed done = f.commit(std::move(batch));
      for (std::size_t i = 0; i < fits.size(); ++i)
        RC_ASSERT(is_limited(done.outcomes[i]) != fits[i]);
    }
  });
  CHECK(held);
}

TEST_CASE("the brake holds an app whose codes nobody types, and tells the operator") {
  LimitedStore f;
  f.limits = no_limits();
  f.brake = {5, 10, 600s};
  f.reopen();
  const auto sends = [&](const std::string& device = {}) {
    return f.run(f.from("u" + std::to_string(f.now.time_since_epoch().count()) + "@example.org", {}, device));
  };
  CHECK(std::get<core::CheckAnswer>(*f.guess("right", "phone")).result == CheckResult::valid);
  for (int i = 0; i < 9; ++i) {
    CHECK_FALSE(is_limited(sends()));
    f.now += 1s;
  }
  CHECK(f.last.brakes.empty());
  const auto refused = sends();
  REQUIRE(is_limited(refused));
  CHECK(std::get<core::Refusal>(*refused).limit->name == "brake");
  REQUIRE(f.last.brakes.size() == 1);
  CHECK(f.last.brakes[0].on);
  CHECK(f.last.brakes[0].count == core::BrakeCount{10, 1});
  CHECK(is_limited(sends()));
  CHECK(f.last.brakes.empty());  // told once
  SECTION("another app goes on") {
    core::CreateChallenge other = f.create_command();
    other.app = "other";
    CHECK_FALSE(is_limited(f.run(std::move(other))));
  }
  SECTION("a known device gets its mail") {
    CHECK_FALSE(is_limited(f.run(f.from("alice@example.org", {}, "phone"))));
    CHECK(is_limited(f.run(f.from("alice@example.org", {}, "other"))));
  }
  SECTION("a restart does not release it") {
    f.reopen();
    CHECK(is_limited(sends()));
  }
  SECTION("right codes release it") {
    for (int i = 0; i < 2; ++i) {
      const core::ChallengeView made = f.challenge_answer(f.from("alice@example.org", {}, "phone")).challenge;
      (void)f.check_answer(f.check_command(made.id, f.last_code));
    }
    CHECK_FALSE(is_limited(sends()));
    REQUIRE(f.last.brakes.size() == 1);
    CHECK_FALSE(f.last.brakes[0].on);
  }
  SECTION("time releases it, also when nobody asks") {
    f.now += 700s;
    (void)f.run(core::Purge{.at = f.now});
    REQUIRE(f.last.brakes.size() == 1);
    CHECK_FALSE(f.last.brakes[0].on);
    CHECK_FALSE(is_limited(sends()));
  }
}

TEST_CASE("two right answers at once: one is valid") {
  LimitedStore f;
  const core::ChallengeView made = f.created();
  std::vector<core::Command> batch;
  for (int i = 0; i < 64; ++i)
    batch.emplace_back(f.check_command(made.id, f.last_code));
  const core::Committed done = f.commit(std::move(batch));
  int valid = 0;
  for (const core::Outcome& outcome : done.outcomes)
    valid += std::get<core::CheckAnswer>(*outcome).result == CheckResult::valid ? 1 : 0;
  CHECK(valid == 1);
}

}  // namespace mailotp::store::test
