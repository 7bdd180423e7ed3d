// Where this program prints: how wide and high it is, whether it has colours.
#pragma once

#include "ctl/table.h"

namespace mailotp::ctl {

// Of stdout, now. COLUMNS is stronger than the terminal's width; colours only on a terminal that has them,
// and not with NO_COLOR.
[[nodiscard]] Screen current_screen();

// Whether stdout is a terminal that can be drawn on again.
[[nodiscard]] bool can_redraw();

}  // namespace mailotp::ctl
