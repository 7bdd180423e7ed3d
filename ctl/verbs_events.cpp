#include <algorithm>
#include <optional>
#include <utility>

#include "ctl/interrupts.h"
#include "ctl/show.h"
#include "ctl/terminal.h"
#include "ctl/verb.h"

namespace mailotp::ctl {
namespace {

constexpr core::Millis k_first_pause{200};
constexpr core::Millis k_longest_pause{5000};

bool is_wanted(const Tail& tail, const std::string& type) {
  return tail.types.empty() ||
         std::any_of(tail.types.begin(), tail.types.end(), [&](const std::string& wanted) {
           return type == wanted || type.starts_with(wanted + ".");
         });
}

void tell(const std::string& what) {
  (void)std::fflush(stdout);  // before it, where both go to one place
  (void)std::fprintf(stderr, "mailotpctl: %s\n", what.c_str());
}

// The events as they come, over all the streams that are needed for it: each goes on where the last one was
// cut.
class Following {
 public:
  Following(const Tail& tail, const Run& run) : tail_(tail), run_(run) {}

  Attempt<void> follow() {
    Interrupts interrupts;
    core::Millis pause = k_first_pause;
    for (;;) {
      DaemonClient client = run_.daemon();
      auto end = client.follow(target(), stream(), interrupts);
      if (broken_) return tl::unexpected(*std::move(broken_));
      if (end && *end != DaemonClient::StreamEnd::ended) return {};
      if (!end && !may_come_back(end.error())) return tl::unexpected(std::move(end.error()));
      if (!std::exchange(lost_, true)) {
        pause = k_first_pause;
        tell("the daemon has ended the stream; waiting for it to come back");
      }
      if (interrupts.wait(pause) == Interrupts::Woken::ended) return {};
      pause = std::min(pause * 2, k_longest_pause);
    }
  }

 private:
  [[nodiscard]] std::string target() const {
    return target_of("/v1/events", {{"app", tail_.app}, {"after", cursor_}});
  }

  // One that was never there is not waited for.
  [[nodiscard]] bool may_come_back(const Failure& failure) const {
    return began_ && (failure.exit == ExitCode::no_daemon || failure.exit == ExitCode::try_again);
  }

  DaemonClient::Stream stream() {
    return {[this](const std::string& cursor) { opened(cursor); },
            [this](std::string_view line) { return take(line); },
            [] { (void)std::fflush(stdout); }};  // who reads it through a pipe waits for it
  }

  void opened(const std::string& cursor) {
    if (cursor_.empty()) cursor_ = cursor;
    if (std::exchange(lost_, false)) tell("the daemon is back; nothing was missed");
    if (std::exchange(began_, true) || run_.for_programs()) return;
    run_.print(events_head(run_.screen));
    (void)std::fflush(stdout);
  }

  bool take(std::string_view line) {
    const auto event = read_streamed(line);
    if (!event) {
      broken_ = strange(event.error()).value();
      return false;
    }
    cursor_ = event->cursor;
    if (!is_wanted(tail_, event->type)) return true;
    if (run_.for_programs())
      run_.print(object_line(line).value_or("") + "\n");  // it has been read
    else
      run_.print(event_row(*event, current_screen()));
    return std::ferror(stdout) == 0;
  }

  const Tail& tail_;
  const Run& run_;
  std::string cursor_;
  bool began_ = false;
  bool lost_ = false;
  std::optional<Failure> broken_;
};

}  // namespace

Attempt<void> carry_out(const Tail& tail, const Run& run) {
  return Following(tail, run).follow();
}

}  // namespace mailotp::ctl
