#pragma once

#include "core/random.h"

namespace mailotp::daemon {

// getrandom(2), some thousand bytes at a time: a code asks for four bytes a digit, and a system call for each
// would cost more than the rest of the drawing. Each thread has a pool of its own: any thread, no lock. A
// byte is handed out once and wiped as it goes; a child gets an empty pool from fork(), and no pool is in a
// core dump. What is long, as a key is, comes straight from the kernel and was never in a pool. Cannot fail
// once the kernel's generator is ready, which it waits for.
class KernelRandom final : public core::RandomSource {
 public:
  void fill(std::span<std::uint8_t> out) override;
};

}  // namespace mailotp::daemon
