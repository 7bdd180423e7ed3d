// How often a value was at most so large. A plain value of one thread; to observe is a search among a dozen
// bounds and three additions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mailotp::daemon {

class Histogram {
 public:
  // `bounds` grow and outlive it; what is over the last one is counted too.
  explicit Histogram(std::span<const double> bounds) : bounds_(bounds), counts_(bounds.size() + 1) {}

  void observe(double value);

  [[nodiscard]] std::span<const double> bounds() const { return bounds_; }
  // One more than there are bounds; not cumulative.
  [[nodiscard]] const std::vector<std::uint64_t>& counts() const { return counts_; }
  [[nodiscard]] double sum() const { return sum_; }

 private:
  std::span<const double> bounds_;
  std::vector<std::uint64_t> counts_;
  double sum_ = 0;
};

}  // namespace mailotp::daemon
