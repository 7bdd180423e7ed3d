#include "core/limits.h"

#include <catch2/catch.hpp>

#include "core/brake.h"

using namespace mailotp;
using namespace std::chrono_literals;

namespace {

core::Address address(const std::string& text) {
  const auto parsed = core::parse_address(text);
  INFO(text);
  REQUIRE(parsed);
  return *parsed;
}

}  // namespace

TEST_CASE("spellings that reach one mailbox fold to one key") {
  struct Row {
    const char* text;
    const char* folded;
    const char* most;
  };
  const Row rows[] = {
      {"alice@example.org", "alice@example.org", "alice@example.org"},
      {"ALICE@EXAMPLE.ORG", "alice@example.org", "alice@example.org"},
      {"Alice+news@example.org", "alice@example.org", "alice@example.org"},
      {"alice+a+b@example.org", "alice@example.org", "alice@example.org"},
      {"a.l.i.c.e@gmail.com", "alice@gmail.com", "alice@gmail.com"},
      {"a.lice+x@GoogleMail.com", "alice@googlemail.com", "alice@googlemail.com"},
      // Elsewhere a dot tells two people apart.
      {"a.lice@example.org", "a.lice@example.org", "alice@example.org"},
      {"alice@b\xc3\xbc"
       "cher.example",
       "alice@xn--bcher-kva.example", "alice@xn--bcher-kva.example"},
      {"alice@xn--bcher-kva.example", "alice@xn--bcher-kva.example", "alice@xn--bcher-kva.example"},
      // Nothing would be left of these.
      {"+tag@example.org", "+tag@example.org", "+tag@example.org"},
      // Quoted local parts are mailboxes of their own.
      {"\"a b+c\"@example.org", "\"a b+c\"@example.org", "\"a b+c\"@example.org"},
      {"\"alice\"@example.org", "alice@example.org", "alice@example.org"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(core::folded(address(row.text), {}) == row.folded);
    CHECK(core::folded_most(address(row.text)) == row.most);
  }
}

TEST_CASE("what the configuration does not fold stays apart") {
  core::LimitsConfig exact;
  exact.fold_plus = false;
  exact.fold_dots_domains.clear();
  CHECK(core::folded(address("A.lice+x@gmail.com"), exact) == "a.lice+x@gmail.com");
}

TEST_CASE("an app's own limits stand in for the common ones") {
  core::Config config;
  core::AppConfig own;
  own.name = "own";
  own.limits = core::LimitsConfig{};
  own.limits->client_sends = {{7, 60s}};
  core::AppConfig usual;
  usual.name = "usual";
  config.apps = {own, usual};
  const core::LimitRules rules = core::limit_rules(config);
  CHECK(rules.of("own").client_sends == std::vector<core::Rate>{{7, 60s}});
  CHECK(rules.of("usual").client_sends == config.limits.client_sends);
  CHECK(rules.of("default").client_sends == config.limits.client_sends);
}

TEST_CASE("the brake acts from its floor on, and only while right codes are too few") {
  const core::BrakeConfig brake{20, 200, 600s};
  CHECK_FALSE(core::is_braked(brake, {199, 0}));
  CHECK(core::is_braked(brake, {200, 0}));
  CHECK(core::is_braked(brake, {200, 10}));
  CHECK_FALSE(core::is_braked(brake, {200, 11}));
  CHECK_FALSE(core::is_braked(brake, {100'000, 50'000}));
  CHECK(core::is_braked(brake, {100'000, 5'000}));
}

TEST_CASE("the counts of the brake leave with their slots") {
  const core::BrakeConfig brake{2, 4, 100s};
  const core::WallTime start = core::from_unix_ms(1'800'000'000'000);
  core::BrakeCounts counts;
  for (int i = 0; i < 6; ++i)
    counts.add({core::brake_slot(brake, start + i * 10s), {1, 0}});
  counts.add({core::brake_slot(brake, start), {1, 1}});  // late, and of a slot that is there
  CHECK(counts.total() == core::BrakeCount{7, 1});
  // Four are one too many: the two of the first slot, with the right code, and the next two must go.
  const core::WallTime passes = counts.passes_at(brake);
  CHECK(passes == core::brake_slot(brake, start + 20s) + 2s + 100s);
  counts.keep_between(core::first_brake_slot(brake, passes - 1ms), passes);
  CHECK(core::is_braked(brake, counts.total()));
  counts.keep_between(core::first_brake_slot(brake, passes), passes);
  CHECK_FALSE(core::is_braked(brake, counts.total()));
}

TEST_CASE("a slot from when the clock was ahead does not count") {
  const core::BrakeConfig brake{2, 4, 100s};
  const core::WallTime now = core::from_unix_ms(1'800'000'000'000);
  core::BrakeCounts counts;
  counts.add({core::brake_slot(brake, now + 24h), {100, 0}});
  counts.add({core::brake_slot(brake, now), {1, 0}});
  counts.keep_between(core::first_brake_slot(brake, now), now);
  CHECK(counts.total() == core::BrakeCount{1, 0});
}
