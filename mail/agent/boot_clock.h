// The time since the machine was booted. It goes on while the machine is suspended, which uv_now() does not.
#pragma once

#include <time.h>

#include "core/check.h"
#include "core/time.h"

namespace mailotp::mail {

[[nodiscard]] inline core::Millis since_boot() {
  timespec now{};
  CHECK(::clock_gettime(CLOCK_BOOTTIME, &now) == 0);
  constexpr core::Millis::rep k_nanos = 1'000'000;
  return core::Millis{core::Millis::rep{now.tv_sec} * 1000 + now.tv_nsec / k_nanos};
}

}  // namespace mailotp::mail
