// Wall-clock time: milliseconds since the epoch, UTC. core/ never reads a clock; times come in as arguments.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"

namespace mailotp::core {

using Millis = std::chrono::milliseconds;
using Seconds = std::chrono::seconds;
using WallTime = std::chrono::sys_time<Millis>;

// RFC 3339, UTC, three decimals: "2026-11-20T12:00:00.000Z".
[[nodiscard]] std::string format_rfc3339(WallTime t);
// Takes what format_rfc3339 gives, and any RFC 3339 time with an offset; fractions beyond milliseconds are
// cut. Errc::malformed, also for a time that its offset takes out of the years 0000 to 9999.
[[nodiscard]] Result<WallTime> parse_rfc3339(std::string_view text);
// RFC 5322 section 3.3, UTC: "Fri, 20 Nov 2026 12:00:00 +0000".
[[nodiscard]] std::string format_rfc5322(WallTime t);

[[nodiscard]] constexpr std::int64_t to_unix_ms(WallTime t) {
  return t.time_since_epoch().count();
}
[[nodiscard]] constexpr WallTime from_unix_ms(std::int64_t ms) {
  return WallTime{Millis{ms}};
}

}  // namespace mailotp::core
