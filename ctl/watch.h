// --watch: a verb that is carried out again and again, until somebody ends it.
#pragma once

#include <functional>
#include <string>

#include "core/time.h"
#include "ctl/exit_code.h"
#include "ctl/interrupts.h"
#include "ctl/table.h"

namespace mailotp::ctl {

// What one time of it shows on this screen.
using Once = std::function<Attempt<std::string>(const Screen& screen, Interrupts& interrupts)>;

enum class Between : std::uint8_t { nothing, empty_line };  // frames, where stdout is no terminal

// Ctrl-C ends it with success. On a terminal each time is drawn over the last one, in place; elsewhere it is
// printed again. A daemon that went away is waited for, once it was there; any other failure is the end.
[[nodiscard]] Attempt<void> watch(core::Seconds pause, Between between, const Once& once);

}  // namespace mailotp::ctl
