#include "daemon/metrics/histogram.h"

#include <algorithm>

namespace mailotp::daemon {

void Histogram::observe(double value) {
  const auto bound = std::ranges::lower_bound(bounds_, value);  // a bound belongs to its bucket
  ++counts_[static_cast<std::size_t>(bound - bounds_.begin())];
  sum_ += value;
}

}  // namespace mailotp::daemon
