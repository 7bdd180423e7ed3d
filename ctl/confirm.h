// A question to whoever sits at the terminal.
#pragma once

#include <string>

#include "ctl/exit_code.h"

namespace mailotp::ctl {

// Asks on stderr and reads a line of stdin: "y" or "yes" goes on, all else is `refused`. Where stdin is no
// terminal nobody is asked: `usage`.
[[nodiscard]] Attempt<void> confirm(const std::string& question);

}  // namespace mailotp::ctl
