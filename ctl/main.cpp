// mailotpctl: the operators' tool. One command, one answer, one exit code (ctl/exit_code.h).
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl/command_line.h"
#include "ctl/table.h"
#include "ctl/verbs.h"

namespace {

using namespace mailotp;

constexpr std::size_t k_widest = 1000;

// COLUMNS, else the terminal's width, else none.
std::size_t screen_width() {
  if (const char* columns = std::getenv("COLUMNS"); columns != nullptr) {
    const unsigned long width = std::strtoul(columns, nullptr, 10);
    if (width > 0 && width <= k_widest) return width;
  }
  winsize size{};
  if (isatty(STDOUT_FILENO) == 1 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) return size.ws_col;
  return 0;
}

ctl::Screen screen() {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  const bool dumb = terminal == nullptr || std::string_view(terminal) == "dumb";
  const bool wanted = no_colour == nullptr || *no_colour == '\0';  // no-color.org: set and not empty
  return {screen_width(), isatty(STDOUT_FILENO) == 1 && wanted && !dumb,
          std::chrono::time_point_cast<core::Millis>(std::chrono::system_clock::now())};
}

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
  const auto outcome = ctl::run(std::get<ctl::CommandLine>(read), screen());
  if (outcome) return exit_with(ctl::ExitCode::done);
  (void)std::fflush(stdout);  // before the error, where both go to one place
  (void)std::fprintf(stderr, "mailotpctl: %s\n", outcome.error().what.c_str());
  return exit_with(outcome.error().exit);
}
