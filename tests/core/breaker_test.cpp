// The circuit breaker of a relay.
#include "core/breaker.h"

#include <catch2/catch.hpp>

#include "tests/core/random_sources.h"

namespace mailotp::core {
namespace {

struct Bench {
  Bench() {
    BreakerPolicy policy;
    policy.jitter_percent = 0;
    breaker = Breaker(policy);
  }
  void fail(int times = 1, RelayTrouble trouble = RelayTrouble::ordinary) {
    for (int i = 0; i < times; ++i)
      breaker.failed(trouble, now, jitter);
  }
  test::SeededRandom jitter{3};
  Breaker breaker;
  Millis now{1'000'000};
};

TEST_CASE("it opens at the third failure in a row") {
  Bench b;
  CHECK(b.breaker.use() == RelayUse::clean);
  b.fail();
  CHECK(b.breaker.use() == RelayUse::doubtful);
  b.fail();
  b.breaker.succeeded();
  CHECK(b.breaker.use() == RelayUse::clean);
  b.fail(2);
  CHECK(b.breaker.state() == BreakerState::closed);
  b.fail();
  CHECK(b.breaker.state() == BreakerState::open);
  CHECK(b.breaker.use() == RelayUse::no);
}

TEST_CASE("it opens when half of the last twenty failed, and five at least") {
  Bench b;
  // Good and bad by turns: the fifth failure is half of nine and more.
  for (int i = 0; i < 4; ++i) {
    b.fail();
    b.breaker.succeeded();
  }
  CHECK(b.breaker.state() == BreakerState::closed);
  b.fail();
  CHECK(b.breaker.state() == BreakerState::open);
  // Many good ones before: five of twenty are too few.
  Bench c;
  for (int i = 0; i < 30; ++i)
    c.breaker.succeeded();
  for (int i = 0; i < 5; ++i) {
    c.fail();
    c.breaker.succeeded();
  }
  CHECK(c.breaker.state() == BreakerState::closed);
  // Two of three now: at ten of the last twenty it opens.
  int failures = 5;
  while (c.breaker.state() == BreakerState::closed) {
    REQUIRE(failures < 40);
    c.fail();
    ++failures;
    if (c.breaker.state() != BreakerState::closed || failures % 2 == 1) continue;
    c.breaker.succeeded();
  }
  CHECK(failures > 9);
}

TEST_CASE("each failed probe doubles the pause, up to a minute, and a good one ends it") {
  Bench b;
  b.fail(3);
  for (const int seconds : {2, 4, 8, 16, 32, 60, 60}) {
    const auto at = b.breaker.probe_at(false);
    REQUIRE(at);
    CHECK(*at == b.now + Seconds{seconds});
    b.now = *at;
    b.breaker.probing();
    CHECK(b.breaker.state() == BreakerState::half_open);
    CHECK(b.breaker.use() == RelayUse::no);
    CHECK_FALSE(b.breaker.probe_at(true));  // one at a time
    b.fail();
    CHECK(b.breaker.state() == BreakerState::open);
  }
  b.breaker.probing();
  b.breaker.succeeded();
  CHECK(b.breaker.use() == RelayUse::clean);
  CHECK_FALSE(b.breaker.probe_at(true));
  b.fail(3);
  CHECK(b.breaker.probe_at(false) == b.now + Seconds{2});  // the pause begins anew
}

TEST_CASE("with no relay to be used each is probed every second") {
  Bench b;
  b.fail(3);
  b.breaker.probing();
  b.fail();
  CHECK(b.breaker.probe_at(false) == b.now + Seconds{4});
  CHECK(b.breaker.probe_at(true) == b.now + Seconds{1});
}

TEST_CASE("a doubtful one is probed every second") {
  Bench b;
  CHECK_FALSE(b.breaker.probe_at(false));
  b.fail();
  CHECK(b.breaker.probe_at(false) == b.now + Seconds{1});
  b.breaker.probing();
  CHECK(b.breaker.state() == BreakerState::closed);
  b.breaker.probe_lost(b.now + Seconds{5});
  CHECK(b.breaker.probe_at(false) == b.now + Seconds{6});
}

TEST_CASE("fixed: a probe of an open one that told nothing was sent again without a pause") {
  Bench b;
  b.fail(3);
  b.now = *b.breaker.probe_at(true) + Seconds{5};
  b.breaker.probing();
  b.breaker.probe_lost(b.now);
  CHECK(b.breaker.state() == BreakerState::open);
  CHECK(b.breaker.probe_at(true) == b.now + Seconds{1});
  CHECK(b.breaker.probe_at(false) == b.now + Seconds{1});
}

TEST_CASE("a refused AUTH opens it for a minute at once, and nobody asks sooner") {
  Bench b;
  b.fail(1, RelayTrouble::auth_refused);
  CHECK(b.breaker.state() == BreakerState::open);
  CHECK(b.breaker.probe_at(false) == b.now + Seconds{60});
  CHECK(b.breaker.probe_at(true) == b.now + Seconds{60});
  b.breaker.reset();  // another password
  CHECK(b.breaker.use() == RelayUse::clean);
}

TEST_CASE("a refused certificate opens it for a minute at once") {
  Bench b;
  b.fail(1, RelayTrouble::certificate);
  CHECK(b.breaker.state() == BreakerState::open);
  CHECK(b.breaker.probe_at(false) == b.now + Seconds{60});
  CHECK(b.breaker.probe_at(true) == b.now + Seconds{1});
}

TEST_CASE("what was under way when it opened does not lengthen the pause") {
  Bench b;
  b.fail(16);
  CHECK(b.breaker.probe_at(false) == b.now + Seconds{2});
}

TEST_CASE("the pause has a jitter of a fifth") {
  Millis least{1'000'000}, most{0};
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    test::SeededRandom jitter{seed};
    Breaker breaker;
    for (int i = 0; i < 3; ++i)
      breaker.failed(RelayTrouble::ordinary, Millis{0}, jitter);
    least = std::min(least, *breaker.probe_at(false));
    most = std::max(most, *breaker.probe_at(false));
  }
  CHECK(least >= Millis{1600});
  CHECK(least < Millis{1700});
  CHECK(most <= Millis{2400});
  CHECK(most > Millis{2300});
}

}  // namespace
}  // namespace mailotp::core
