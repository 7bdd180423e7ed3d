// The wall clock as the whole daemon sees it: real time, but for a step. When somebody sets the clock of the
// machine by more than a minute, time goes on here as if nothing had happened, counted by the time since boot
// (which counts a suspend as well), until the store has moved everything that is still to come by the same
// amount (StoreThread). Any thread.
#pragma once

#include <optional>
#include <string>

#include "core/time.h"

namespace mailotp::daemon {

[[nodiscard]] core::WallTime wall_now();

// How the real time stands to the time since boot. One for the process: see DECISIONS.md.
namespace clock {

inline constexpr core::Millis k_step{60'000};  // more is a step, less is followed as it is

// Names this boot of the machine; empty when the system does not say.
[[nodiscard]] std::string boot_id();
// Real time less time since boot, now.
[[nodiscard]] core::Millis offset_now();
// The offset that is in force.
[[nodiscard]] core::Millis offset();
// Everything has been moved: from here on wall_now() is by this offset.
void set_offset(core::Millis offset);
// By how much the real time has stepped away from the offset in force; nothing when it has not. Small changes
// are taken over.
[[nodiscard]] std::optional<core::Millis> step();

}  // namespace clock

}  // namespace mailotp::daemon
