// The times that a command carries.
#pragma once

#include "core/store.h"

namespace mailotp::daemon {

// Moves all of them, after the clock was set.
void move_times(core::Command& command, core::Millis by);
// A command that was stamped by the clock before it moved by `by`, but arrives after: moved, too. `now` is by
// the clock after. Commands wait for seconds at most, and a step is more than a minute.
void move_if_stamped_before(core::Command& command, core::Millis by, core::WallTime now);

}  // namespace mailotp::daemon
