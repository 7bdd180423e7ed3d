#include "ctl/watch.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "ctl/terminal.h"

namespace mailotp::ctl {
namespace {

void put(const std::string& text) {
  (void)std::fwrite(text.data(), 1, text.size(), stdout);  // main finds what went wrong
  (void)std::fflush(stdout);
}

// As many lines as the screen has; nothing scrolls.
std::string fitted(const std::string& frame, std::size_t height) {
  std::string out;
  std::size_t lines = 0;
  for (std::size_t at = 0; at < frame.size(); ++lines) {
    const std::size_t end = std::min(frame.find('\n', at), frame.size());
    if (height > 1 && lines + 2 > height) return out + "…\x1b[K";
    if (lines > 0) out += '\n';
    out += frame.substr(at, end - at) + "\x1b[K";
    at = end + 1;
  }
  return out;
}

// The terminal's second screen, without cursor and without broken lines, for as long as this lives.
class Canvas {
 public:
  Canvas() { enter(); }
  ~Canvas() { leave(); }
  Canvas(const Canvas&) = delete;
  Canvas& operator=(const Canvas&) = delete;

  static void enter() { put("\x1b[?1049h\x1b[?25l\x1b[?7l"); }
  static void leave() { put("\x1b[?7h\x1b[?25h\x1b[?1049l"); }

  // In one piece, each line over the old one: an empty screen is never seen.
  static void draw(const std::string& frame, std::size_t height) {
    put("\x1b[H" + fitted(frame, height) + "\x1b[J");
  }

  // Ctrl-Z: the shell gets its screen back until this goes on.
  static void stop() {
    leave();
    (void)std::raise(SIGSTOP);
    enter();
  }
};

bool may_come_back(const Failure& failure) {
  return failure.exit == ExitCode::no_daemon || failure.exit == ExitCode::try_again;
}

std::string title(core::Seconds pause, const Screen& screen) {
  return fmt::format("every {}s, {} UTC; Ctrl-C ends\n\n", pause.count(),
                     core::format_rfc3339(screen.now).substr(11, 8));
}

class Frames {
 public:
  Frames(core::Seconds pause, Between between) : pause_(pause), between_(between) {}

  // The screen is taken with the first frame: a failure before it stands where others do.
  void show(const std::string& text, const Screen& screen) {
    if (can_redraw()) {
      if (!canvas_) canvas_.emplace();
      return Canvas::draw(title(pause_, screen) + text, screen.height);
    }
    if (std::exchange(any_, true) && between_ == Between::empty_line) put("\n");
    put(text);
  }

  void trouble(const Failure& failure, const Screen& screen) {
    const std::string line = "mailotpctl: " + failure.what + "\n";
    if (canvas_) return Canvas::draw(title(pause_, screen) + line, screen.height);
    (void)std::fputs(line.c_str(), stderr);
  }

  void stop() {
    if (canvas_) return Canvas::stop();
    (void)std::raise(SIGSTOP);
  }

 private:
  core::Seconds pause_;
  Between between_;
  bool any_ = false;
  std::optional<Canvas> canvas_;
};

}  // namespace

Attempt<void> watch(core::Seconds pause, Between between, const Once& once) {
  Interrupts interrupts(Interrupts::CtrlZ::told);
  Frames frames(pause, between);
  bool was_there = false;
  for (;;) {
    const Screen screen = current_screen();
    auto text = once(screen, interrupts);
    if (interrupts.ended()) return {};
    if (text) {
      frames.show(*text, screen);
    } else {
      if (!was_there || !may_come_back(text.error())) return tl::unexpected(std::move(text.error()));
      frames.trouble(text.error(), screen);
    }
    was_there = true;
    if (std::ferror(stdout) != 0) return {};  // main says so
    const Interrupts::Woken woken = interrupts.wait(pause);
    if (woken == Interrupts::Woken::ended) return {};
    if (woken == Interrupts::Woken::stopped) frames.stop();
  }
}

}  // namespace mailotp::ctl
