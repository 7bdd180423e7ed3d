#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "ctl/show_words.h"
#include "ctl/text.h"
#include "ctl/timeline.h"

namespace mailotp::ctl {
namespace {

constexpr std::array<Column, 5> k_timeline_columns{{{"AT", 24, 24, 1},
                                                    {"EVENT", 20, 20, 2},
                                                    {"APP", 8, 12, 4},
                                                    {"ID", 36, 36, 5},
                                                    {"WHAT", 30, k_whole_line, 3}}};

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
  return Table(k_timeline_columns, screen).head();
}

std::string timeline_rows(const std::vector<TimelineInfo>& items, const Screen& screen) {
  const Table table(k_timeline_columns, screen);
  std::string out;
  for (const TimelineInfo& item : items) {
    const std::string& id = item.message.empty() ? item.challenge : item.message;
    out += table.row({{item.at ? core::format_rfc3339(*item.at) : std::string(k_nothing)},
                      {or_dash(item.type)},
                      {or_dash(item.app)},
                      {or_dash(id)},
                      {or_dash(words_of(item))}});
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
