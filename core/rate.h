#pragma once

#include <cstdint>

#include "core/time.h"

namespace mailotp::core {

// "3/15m": at most `max` in any `period`.
struct Rate {
  std::int64_t max = 0;
  Seconds period{0};
  bool operator==(const Rate&) const = default;
};

}  // namespace mailotp::core
