// The lock of an agent: a flock on a descriptor that it inherits and keeps until it is dead.
#pragma once

#include "core/result.h"

namespace mailotp::mail {

// Takes the flock of `descriptor`, at once or not at all, and writes "PID START-TIME" (decimal; the start in
// clock ticks since boot, /proc/PID/stat) into the file: together they name this process for good. The
// daemon has locked the same open file description already, so there is no moment without a lock; one that
// was started by hand really asks here. Errc::busy: another holds it. Errc::io.
[[nodiscard]] core::Result<> take_agent_lock(int descriptor);

}  // namespace mailotp::mail
