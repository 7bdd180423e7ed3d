#pragma once

#include "core/time.h"

namespace mailotp::daemon {

[[nodiscard]] inline core::WallTime wall_now() {
  return std::chrono::floor<core::Millis>(std::chrono::system_clock::now());
}

}  // namespace mailotp::daemon
