#pragma once

#include "ctl/command_line.h"
#include "ctl/exit_code.h"

namespace mailotp::ctl {

// Does what the command line asks and prints it on stdout. A failure is not printed.
[[nodiscard]] Attempt<void> run(const CommandLine& command);

}  // namespace mailotp::ctl
