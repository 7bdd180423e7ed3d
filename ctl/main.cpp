// mailotpctl: the operators' tool. One command, one answer, one exit code (ctl/exit_code.h).
#include <cstdio>

#include "ctl/command_line.h"
#include "ctl/verbs.h"

namespace {

using namespace mailotp;

int exit_with(ctl::ExitCode code) {
  // What was printed must have arrived, else a script takes half a list for the whole.
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return static_cast<int>(code);
  std::perror("mailotpctl: cannot write the answer");
  return static_cast<int>(ctl::ExitCode::refused);
}

}  // namespace

int main(int argc, char** argv) {
  const auto read = ctl::read_command_line(argc, argv);
  if (const auto* nothing = std::get_if<ctl::NothingToRun>(&read)) {
    (void)std::fputs(nothing->text.c_str(), nothing->exit == ctl::ExitCode::done ? stdout : stderr);
    return exit_with(nothing->exit);
  }
  const auto outcome = ctl::run(std::get<ctl::CommandLine>(read));
  if (outcome) return exit_with(ctl::ExitCode::done);
  (void)std::fflush(stdout);  // before the error, where both go to one place
  (void)std::fprintf(stderr, "mailotpctl: %s\n", outcome.error().what.c_str());
  return exit_with(outcome.error().exit);
}
