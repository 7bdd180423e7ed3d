// Of refusals that are alike one a minute is noted, and never many a second.
#include "daemon/api/refusal_notes.h"

#include <catch2/catch.hpp>

namespace mailotp::daemon {
namespace {

using namespace std::chrono_literals;

const RefusalGate::Time k_start{1000s};

TEST_CASE("refusal notes: one a minute of a kind, with the number of those before it") {
  RefusalGate gate;
  CHECK(gate.pass("a", k_start) == 1);
  for (int i = 0; i < 9; ++i)
    CHECK_FALSE(gate.pass("a", k_start + 1s * i));
  CHECK(gate.pass("b", k_start + 9s) == 1);
  CHECK_FALSE(gate.pass("a", k_start + 59'999ms));
  CHECK(gate.pass("a", k_start + 60s) == 11);
  CHECK_FALSE(gate.pass("a", k_start + 61s));
}

TEST_CASE("refusal notes: a flood of kinds is noted at a bounded rate, and remembered in bounded room") {
  RefusalGate gate;
  int noted = 0;
  for (std::size_t i = 0; i < 3 * RefusalGate::k_kinds; ++i)
    noted += gate.pass(std::to_string(i), k_start) ? 1 : 0;
  CHECK(noted == RefusalGate::k_a_second);
  // Those that it has forgotten make room for others after a minute.
  CHECK(gate.pass("late", k_start + 60s) == 1);
}

TEST_CASE("refusal notes: what the rate has swallowed is noted with the next one") {
  RefusalGate gate;
  for (int i = 0; i < RefusalGate::k_a_second; ++i)
    REQUIRE(gate.pass(std::to_string(i), k_start));
  CHECK_FALSE(gate.pass("late", k_start));
  CHECK_FALSE(gate.pass("late", k_start + 30s));
  CHECK(gate.pass("late", k_start + 60s) == 3);
}

}  // namespace
}  // namespace mailotp::daemon
