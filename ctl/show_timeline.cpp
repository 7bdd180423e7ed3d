#include <algorithm>

#include <fmt/format.h>

#include "ctl/show_words.h"
#include "ctl/text.h"
#include "ctl/timeline.h"

namespace mailotp::ctl {
namespace {

constexpr std::size_t k_at = 24;
constexpr std::size_t k_event = 20;
constexpr std::size_t k_app = 12;
constexpr std::size_t k_id = 36;
constexpr std::size_t k_least_words = 40;
constexpr std::size_t k_gap = 2;

// Which columns a screen has room for. What happened is never cut: it goes on in the next line.
struct Layout {
  bool event = true;
  bool app = true;
  bool id = true;
  std::size_t indent = 0;  // where the words begin
  std::size_t words = 0;   // columns for them; 0: no end

  explicit Layout(const Screen& screen) {
    indent = k_at + k_gap;
    const auto fits = [&](std::size_t width) {
      const bool room = screen.width == 0 || indent + width + k_gap + k_least_words <= screen.width;
      if (room) indent += width + k_gap;
      return room;
    };
    event = fits(k_event);
    id = fits(k_id);
    app = fits(k_app);
    if (screen.width != 0) words = std::max(k_least_words, screen.width - std::min(screen.width, indent));
  }
};

void cell(std::string& out, std::string_view text, std::size_t width) {
  const std::string shown = cut(text, width);
  out += shown + std::string(width + k_gap - columns_of(shown), ' ');
}

std::string start_of(const Layout& layout, std::string_view at, std::string_view event, std::string_view app,
                     std::string_view id) {
  std::string out;
  cell(out, at, k_at);
  if (layout.event) cell(out, event, k_event);
  if (layout.app) cell(out, app, k_app);
  if (layout.id) cell(out, id, k_id);
  return out;
}

// Broken at blanks where that can be, with each further line under the first one.
std::string wrapped(std::string_view text, const Layout& layout) {
  std::string out;
  while (layout.words != 0 && columns_of(text) > layout.words) {
    std::size_t end = 0;
    for (std::size_t columns = 0; end < text.size(); ++end) {
      const bool begins = (static_cast<unsigned char>(text[end]) & 0xc0U) != 0x80;
      if (begins && columns++ == layout.words) break;
    }
    const std::size_t blank = text.substr(0, end + 1).rfind(' ');
    const bool at_blank = blank != std::string_view::npos && blank > 0;
    out += text.substr(0, at_blank ? blank : end);
    out += "\n" + std::string(layout.indent, ' ');
    text.remove_prefix(at_blank ? blank + 1 : end);
  }
  return out + std::string(text);
}

// Cut by nothing: these lines are why the command was given.
void line(std::string& out, std::string_view text) {
  out += printable(text);
  out += '\n';
}

bool is_over(std::string_view state) {
  return state != "queued" && state != "sending" && state != "deferred" && state != "uncertain" &&
         state != "held";
}

Colour colour_of_end(const MessageInfo& message) {
  return message.state == "relayed" && message.verdict ? Colour::waiting : colour_of(message.state);
}

std::string of_verdict(const VerdictInfo& verdict) {
  std::string out = fmt::format("{} ({}", class_words(verdict.verdict_class), verdict.verdict_class);
  if (!verdict.status.empty()) out += fmt::format(", status {}", verdict.status);
  out += ')';
  if (!verdict.detail.empty()) out += fmt::format(": {}", verdict.detail);
  return out;
}

std::string why(const MessageInfo& message, const Screen& screen) {
  if (message.state == "relayed" && message.verdict && message.verdict->kind == "delayed")
    return "relay " + message.relay + " has it and cannot deliver it yet: " + of_verdict(*message.verdict);
  if (message.verdict && is_over(message.state)) return of_verdict(*message.verdict);
  if (message.state == "relayed")
    return fmt::format("relay {} took it: {}; nothing has come back", message.relay, message.reply);
  if (message.state == "delivered") return "it is in the mailbox";
  if (message.state == "deferred" || message.state == "uncertain")
    return fmt::format("{}; next try {}", message.reply.empty() ? "no reply" : message.reply,
                       message.next_attempt_at ? "in " + until(message.next_attempt_at, screen) : "never");
  if (message.state == "queued") return "it waits for a relay";
  return {};
}

void tell_message(std::string& out, const MessageInfo& message, const Screen& screen) {
  const std::string cause = why(message, screen);
  out += fmt::format("mail {}: {}{}\n", or_dash(message.id),
                     coloured(or_dash(message.state), colour_of_end(message), screen.colour),
                     cause.empty() ? "" : ", " + printable(cause));
}

}  // namespace

std::string timeline_head(const Screen& screen) {
  return start_of(Layout(screen), "AT", "EVENT", "APP", "ID") + "WHAT\n";
}

std::string timeline_rows(const std::vector<TimelineInfo>& items, const Screen& screen) {
  const Layout layout(screen);
  std::string out;
  for (const TimelineInfo& item : items) {
    const std::string& id = item.message.empty() ? item.challenge : item.message;
    out += start_of(layout, item.at ? core::format_rfc3339(*item.at) : k_nothing, or_dash(item.type),
                    or_dash(item.app), or_dash(id));
    out += wrapped(or_dash(words_of(item)), layout) + "\n";
  }
  return out;
}

std::string show_standing(const StandingInfo& standing, const Screen& screen) {
  std::string out;
  for (const MessageInfo& message : standing.messages)
    tell_message(out, message, screen);
  for (const SuppressionInfo& one : standing.suppressions)
    line(out, fmt::format("suppressed: {} ({}), {}; \"mailotpctl suppress remove {}\" ends it",
                          class_words(one.bounce_class), one.bounce_class,
                          one.until ? "for another " + until(one.until, screen) : "until it is removed",
                          one.address));
  const bool open = std::ranges::any_of(standing.messages,
                                        [](const MessageInfo& message) { return !is_over(message.state); });
  for (const RelayInfo& relay : standing.relays) {
    const bool told = !relay.last_error.empty() && (relay.state != "up" || open);
    if (relay.state == "up" && !told) continue;
    line(out, fmt::format("relay {} is {}{}", relay.name, relay.state,
                          told ? ": " + relay.last_error : std::string()));
  }
  return out;
}

}  // namespace mailotp::ctl
