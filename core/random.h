// The source of random bytes, injected: the daemon gives the kernel's, a test gives a seeded one.
#pragma once

#include <cstdint>
#include <span>

namespace mailotp::core {

class RandomSource {
 public:
  virtual ~RandomSource() = default;
  // Fills all of `out`. Cannot fail: a source that cannot deliver ends the process.
  virtual void fill(std::span<std::uint8_t> out) = 0;
};

// An unbiased number in [0, bound) by rejection. bound >= 1.
[[nodiscard]] std::uint32_t uniform_below(RandomSource& random, std::uint32_t bound);

}  // namespace mailotp::core
