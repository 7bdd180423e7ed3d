// Named places where a test makes the process die, as a power cut or the kernel would: nothing is flushed,
// nothing is said. MAILOTP_CRASH="name:n" in its environment: the n-th time that the process comes to the
// point of this name it kills itself. Without the variable a point does nothing.
//
// They are there only in builds with the CMake option MAILOTP_CRASH_POINTS (presets dev, asan and tsan): in
// others the macros are empty, and their arguments are not evaluated. A name stands in one place, which one
// thread of the process comes to. tests/system/test_crash_loop.py lists the names.
#pragma once

#include <string>
#include <string_view>

#if defined(MAILOTP_CRASH_POINTS)

namespace mailotp::core {
void crash_point(std::string_view name);
// MAILOTP_CRASH as this process got it, to hand on; empty: not set.
[[nodiscard]] std::string crash_order();
}  // namespace mailotp::core

#define MAILOTP_CRASH_POINT(name) ::mailotp::core::crash_point(name)
#define MAILOTP_CRASH_POINT_IF(condition, name) \
  ((condition) ? ::mailotp::core::crash_point(name) : static_cast<void>(0))

#else

namespace mailotp::core {
[[nodiscard]] inline std::string crash_order() {
  return {};
}
}  // namespace mailotp::core

#define MAILOTP_CRASH_POINT(name) static_cast<void>(0)
#define MAILOTP_CRASH_POINT_IF(condition, name) static_cast<void>(0)

#endif
