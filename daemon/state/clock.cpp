#include "daemon/state/clock.h"

#include <atomic>
#include <fstream>

#include <time.h>

#include "core/check.h"

namespace mailotp::daemon {

namespace {

core::Millis read(clockid_t which) {
  timespec now{};
  CHECK(::clock_gettime(which, &now) == 0);
  constexpr std::int64_t k_nanos = 1'000'000;
  return core::Millis{std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / k_nanos};
}

bool is_step(core::Millis by) {
  return by > clock::k_step || by < -clock::k_step;
}

std::atomic<std::int64_t>& offset_in_force() {
  static std::atomic<std::int64_t> offset{clock::offset_now().count()};
  return offset;
}

}  // namespace

core::WallTime wall_now() {
  const core::Millis real = read(CLOCK_REALTIME);
  const core::Millis expected = read(CLOCK_BOOTTIME) + clock::offset();
  return core::WallTime{is_step(real - expected) ? expected : real};
}

namespace clock {

std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  file >> id;
  return id;
}

core::Millis offset_now() {
  return read(CLOCK_REALTIME) - read(CLOCK_BOOTTIME);
}

core::Millis offset() {
  return core::Millis{offset_in_force().load(std::memory_order_relaxed)};
}

void set_offset(core::Millis offset) {
  offset_in_force().store(offset.count(), std::memory_order_relaxed);
}

std::optional<core::Millis> step() {
  const core::Millis now = offset_now();
  const core::Millis by = now - offset();
  if (is_step(by)) return by;
  set_offset(now);
  return std::nullopt;
}

}  // namespace clock

}  // namespace mailotp::daemon
