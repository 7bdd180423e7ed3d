#pragma once

#include "core/random.h"

namespace mailotp::daemon {

// getrandom(2): no state, any thread. Cannot fail once the kernel's pool is ready, which it waits for.
class KernelRandom final : public core::RandomSource {
 public:
  void fill(std::span<std::uint8_t> out) override;
};

}  // namespace mailotp::daemon
