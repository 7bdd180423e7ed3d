#include "daemon/app/kernel_random.h"

#include <cerrno>

#include <sys/random.h>

#include "core/check.h"

namespace mailotp::daemon {

void KernelRandom::fill(std::span<std::uint8_t> out) {
  while (!out.empty()) {
    const ssize_t got = ::getrandom(out.data(), out.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    CHECK(got > 0);
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

}  // namespace mailotp::daemon
