#include "ctl/terminal.h"

#include <chrono>
#include <cstdlib>
#include <string_view>

#include <sys/ioctl.h>
#include <unistd.h>

namespace mailotp::ctl {
namespace {

constexpr std::size_t k_widest = 1000;

bool is_dumb() {
  const char* terminal = std::getenv("TERM");
  return terminal == nullptr || std::string_view(terminal) == "dumb";
}

// Without a terminal 0 by 0.
winsize terminal_size() {
  winsize size{};
  if (isatty(STDOUT_FILENO) != 1 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return {};
  return size;
}

}  // namespace

Screen current_screen() {
  Screen screen;
  const winsize size = terminal_size();
  screen.width = size.ws_col;
  screen.height = size.ws_row;
  if (const char* columns = std::getenv("COLUMNS"); columns != nullptr) {
    const unsigned long width = std::strtoul(columns, nullptr, 10);
    if (width > 0 && width <= k_widest) screen.width = width;
  }
  const char* no_colour = std::getenv("NO_COLOR");
  const bool wanted = no_colour == nullptr || *no_colour == '\0';  // no-color.org: set and not empty
  screen.colour = isatty(STDOUT_FILENO) == 1 && wanted && !is_dumb();
  screen.now = std::chrono::time_point_cast<core::Millis>(std::chrono::system_clock::now());
  return screen;
}

bool can_redraw() {
  return isatty(STDOUT_FILENO) == 1 && !is_dumb();
}

}  // namespace mailotp::ctl
