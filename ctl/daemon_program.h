// mailotpd as a program that this one runs: it has the parsers, and knows where things are.
#pragma once

#include <string>
#include <vector>

#include "ctl/exit_code.h"

namespace mailotp::ctl {

// Beside this program, as in a build tree; in sbin of the same prefix; else in /usr/sbin.
[[nodiscard]] std::string daemon_program();

struct ProgramEnd {
  int status = 0;      // its exit code, or 128 and the signal that ended it
  std::string output;  // its standard output, at most 4 MiB
};
// Runs it to its end, its standard error being ours; two minutes at most. A failure is that it did not run,
// or not so far.
[[nodiscard]] Attempt<ProgramEnd> run_program(const std::string& program,
                                              const std::vector<std::string>& arguments);

}  // namespace mailotp::ctl
