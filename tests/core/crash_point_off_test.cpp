// What is shipped: a build without the option, where a crash point is nothing at all.
#undef MAILOTP_CRASH_POINTS
#include <catch2/catch.hpp>

#include "core/crash_point.h"

namespace {

// A call of anything that is not constexpr would not compile here.
constexpr int through_crash_points() {
  MAILOTP_CRASH_POINT("never");
  MAILOTP_CRASH_POINT_IF(not_even_looked_up(), "never");
  return 7;
}
static_assert(through_crash_points() == 7);

}  // namespace

TEST_CASE("a crash point is nothing in a build without the option") {
  CHECK(through_crash_points() == 7);
}
