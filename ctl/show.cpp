#include "ctl/show.h"

#include <algorithm>
#include <array>
#include <set>

#include <fmt/format.h>

#include "ctl/text.h"

namespace mailotp::ctl {
namespace {

constexpr std::size_t k_whole_line = 4096;  // a last column that takes all there is
constexpr std::string_view k_nothing = "-";

constexpr std::array<Column, 8> k_outbox_columns{{{"ID", 36, 36, 1},
                                                  {"STATE", 10, 10, 2},
                                                  {"AGE", 6, 6, 4, Align::right},
                                                  {"TRIES", 5, 5, 6, Align::right},
                                                  {"NEXT", 6, 6, 5, Align::right},
                                                  {"RECIPIENT", 16, 32, 3},
                                                  {"RELAY", 12, 12, 8},
                                                  {"LAST REPLY", 20, k_whole_line, 7}}};
constexpr std::array<Column, 9> k_bounce_columns{{{"AGE", 6, 6, 2, Align::right},
                                                  {"KIND", 10, 10, 4},
                                                  {"CLASS", 18, 18, 1},
                                                  {"STATUS", 6, 9, 5},
                                                  {"WEIGHT", 6, 6, 6},
                                                  {"RECIPIENT", 16, 32, 3},
                                                  {"SOURCE", 8, 8, 8},
                                                  {"MESSAGE", 36, 36, 9},
                                                  {"DIAGNOSTIC", 20, k_whole_line, 7}}};
constexpr std::array<Column, 8> k_suppression_columns{{{"ADDRESS", 24, 40, 1},
                                                       {"CLASS", 18, 18, 2},
                                                       {"LEFT", 6, 6, 3, Align::right},
                                                       {"PROBE", 6, 6, 5, Align::right},
                                                       {"SOURCE", 8, 8, 4},
                                                       {"AGE", 6, 6, 6, Align::right},
                                                       {"TIMES", 5, 5, 8, Align::right},
                                                       {"APP", 8, 16, 7}}};
constexpr std::array<Column, 4> k_event_columns{
    {{"AT", 24, 24, 1}, {"EVENT", 20, 24, 2}, {"ACTOR", 10, 10, 4}, {"DETAIL", 14, k_whole_line, 3}}};
constexpr std::array<Column, 5> k_relay_columns{{{"RELAY", 16, 20, 1},
                                                 {"STATE", 9, 9, 2},
                                                 {"BREAKER", 9, 9, 5},
                                                 {"CONNECTIONS", 11, 11, 4, Align::right},
                                                 {"LAST ERROR", 20, k_whole_line, 3}}};
constexpr std::array<Column, 3> k_test_columns{
    {{"STEP", 9, 9, 1}, {"RESULT", 6, 6, 2}, {"SAW", 20, k_whole_line, 3}}};
constexpr std::array<Column, 4> k_message_count_columns{{{"MESSAGES", 13, 13, 1},
                                                         {"NOW", 9, 9, 2, Align::right},
                                                         {"OLDEST", 9, 9, 3, Align::right},
                                                         {"ENDED", 9, 9, 4, Align::right}}};
constexpr std::array<Column, 2> k_bounce_count_columns{
    {{"BOUNCES", 18, 18, 1}, {"EVER", 9, 9, 2, Align::right}}};
constexpr std::array<Column, 2> k_challenge_count_columns{
    {{"CHALLENGES", 13, 13, 1}, {"NOW", 9, 9, 2, Align::right}}};

// In the order of a message's life; the names are the contract's.
constexpr std::array<std::string_view, 13> k_message_states{
    "queued",  "sending", "deferred", "uncertain",  "held",     "relayed",   "delivered",
    "bounced", "failed",  "expired",  "superseded", "canceled", "suppressed"};
constexpr std::array<std::string_view, 7> k_challenge_states{
    "started", "otp_sent", "otp_invalid", "otp_valid", "otp_exhausted", "expired", "canceled"};

std::string or_dash(std::string_view text) {
  return text.empty() ? std::string(k_nothing) : printable(text);
}

Colour colour_of(std::string_view state) {
  const auto is = [state](std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), state) != names.end();
  };
  if (is({"relayed", "delivered", "otp_valid", "up"})) return Colour::good;
  if (is({"deferred", "uncertain", "held", "otp_invalid", "suspended"})) return Colour::waiting;
  if (is({"failed", "bounced", "expired", "otp_exhausted", "down"})) return Colour::bad;
  return Colour::none;
}

Cell breaker_cell(std::string_view breaker) {
  if (breaker == "open") return {std::string(breaker), Colour::bad};
  if (breaker == "half-open") return {std::string(breaker), Colour::waiting};
  return {or_dash(breaker)};
}

Cell state_cell(std::string_view state) {
  return {or_dash(state), colour_of(state)};
}

core::Seconds since(core::WallTime then, core::WallTime now) {
  return std::chrono::duration_cast<core::Seconds>(now - then);
}

std::string age_of(const MessageInfo& message, const Screen& screen) {
  if (message.age) return age(*message.age);
  return message.created_at ? age(since(*message.created_at, screen.now)) : std::string(k_nothing);
}

// "2026-11-20T12:00:00.000Z (3m12s ago)" or "(in 4s)".
std::string moment(const std::optional<core::WallTime>& at, const Screen& screen) {
  if (!at) return std::string(k_nothing);
  const auto ago = since(*at, screen.now);
  return fmt::format("{} ({})", core::format_rfc3339(*at),
                     ago.count() >= 0 ? age(ago) + " ago" : "in " + age(-ago));
}

// "in 4s" in the words of a table: "4s", "now".
std::string until(const std::optional<core::WallTime>& at, const Screen& screen) {
  if (!at) return std::string(k_nothing);
  const auto left = since(screen.now, *at);
  return left.count() <= 0 ? "now" : age(left);
}

// One "name  value" line.
void field(std::string& out, std::string_view name, std::string_view value) {
  out += fmt::format("{:<14}{}\n", name, value);
}

std::string verdict_text(const std::optional<VerdictInfo>& verdict) {
  if (!verdict) return std::string(k_nothing);
  std::string out = fmt::format("{}, {}", verdict->kind, verdict->verdict_class);
  out += verdict->permanent ? ", permanent" : ", not permanent";
  if (!verdict->status.empty()) out += fmt::format(", status {}", verdict->status);
  out += fmt::format(" (from {})", verdict->source);
  if (!verdict->detail.empty()) out += fmt::format(": {}", verdict->detail);
  return printable(out);
}

// What a challenge's message and a message of its own have in common.
void delivery_fields(std::string& out, const MessageInfo& message, const Screen& screen) {
  field(out, "attempts", std::to_string(message.attempts));
  field(out, "next attempt", moment(message.next_attempt_at, screen));
  field(out, "last reply", or_dash(message.reply));
  field(out, "verdict", verdict_text(message.verdict));
}

std::string inked_state(std::string_view state, const Screen& screen) {
  return coloured(or_dash(state), colour_of(state), screen.colour);
}

std::string count_or_dash(const std::map<std::string, std::int64_t>& counts, const std::string& name) {
  const auto it = counts.find(name);
  return it == counts.end() ? std::string(k_nothing) : std::to_string(it->second);
}

// The states of `known` of which one of `maps` has some, in their order, then the ones that only the daemon
// knows.
template <std::size_t N>
std::vector<std::string> states_in(const std::array<std::string_view, N>& known,
                                   std::initializer_list<const std::map<std::string, std::int64_t>*> maps) {
  std::set<std::string> present;
  for (const auto* map : maps) {
    for (const auto& [name, count] : *map) {
      if (count != 0) present.insert(name);
    }
  }
  std::vector<std::string> out;
  for (const std::string_view name : known) {
    if (present.erase(std::string(name)) != 0) out.emplace_back(name);
  }
  out.insert(out.end(), present.begin(), present.end());
  return out;
}

std::string message_counts(const StatsInfo& stats, const Screen& screen) {
  const Table table(k_message_count_columns, screen);
  std::string out = table.head();
  for (const auto& name :
       states_in(k_message_states, {&stats.messages, &stats.oldest_seconds, &stats.ended_total})) {
    const auto oldest = stats.oldest_seconds.find(name);
    out += table.row(
        {{printable(name)},
         {count_or_dash(stats.messages, name)},
         {oldest == stats.oldest_seconds.end() ? std::string(k_nothing) : age(core::Seconds{oldest->second})},
         {count_or_dash(stats.ended_total, name)}});
  }
  return out + fmt::format("accepted in total: {}\n", stats.accepted_total);
}

std::string challenge_counts(const StatsInfo& stats, const Screen& screen) {
  const Table table(k_challenge_count_columns, screen);
  std::string out = table.head();
  for (const auto& name : states_in(k_challenge_states, {&stats.challenges}))
    out += table.row({{printable(name)}, {count_or_dash(stats.challenges, name)}});
  return out;
}

// Nothing where nothing ever came back.
std::string bounce_counts(const StatsInfo& stats, const Screen& screen) {
  if (stats.bounces.empty()) return {};
  const Table table(k_bounce_count_columns, screen);
  std::string out = "\n" + table.head();
  for (const auto& [name, count] : stats.bounces)
    out += table.row({{printable(name)}, {std::to_string(count)}});
  return out;
}

Colour colour_of_weight(std::string_view weight) {
  if (weight == "hard" || weight == "alarm") return Colour::bad;
  return weight == "soft" ? Colour::waiting : Colour::none;
}

std::string mailbox_text(const ReadyInfo& ready) {
  std::string out = or_dash(ready.bounces);
  if (ready.bounces_foreign > 0)
    out += fmt::format(", with {} mails that are not ours", ready.bounces_foreign);
  return out;
}

// Why an old key must stay in the file, or that it need not.
std::string key_text(const KeyInfo& key, core::WallTime now) {
  if (key.writing) return "writes";
  if (!key.needed) return "old, no longer needed: its line may go";
  std::string why;
  const auto add = [&why](bool so, std::string_view what) {
    if (so) why += (why.empty() ? "" : ", ") + std::string(what);
  };
  const auto ahead = [now](const std::optional<core::WallTime>& until) { return until && *until > now; };
  add(key.challenges, "open challenges");
  add(key.messages, "unsent mails");
  add(ahead(key.answers_until), "repeats of requests");
  add(ahead(key.bounces_until), "bounces that may still come");
  // All of it is over by then.
  const auto until = std::max(key.answers_until, key.bounces_until);
  return "old, still needed for " + or_dash(why) +
         (until ? ", until " + core::format_rfc3339(*until) + " at the latest" : std::string());
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words)
    out += (out.empty() ? "" : ", ") + printable(word);
  return out;
}

// "relays: b added, a changed"; nothing where nothing has changed.
std::string name_changes(const char* what, const NamesInfo& names) {
  std::string out;
  const auto add = [&out](const std::vector<std::string>& those, const char* how) {
    if (!those.empty()) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", joined(those), how);
  };
  add(names.added, "added");
  add(names.changed, "changed");
  add(names.removed, "removed");
  return out.empty() ? out : fmt::format("{}: {}\n", what, out);
}

}  // namespace

std::string show_status(const StatusInfo& status, const Screen& screen) {
  const bool ready = status.ready.ready;
  std::string out =
      fmt::format("mailotpd {}, mode {}: {}\n", or_dash(status.daemon.version), or_dash(status.daemon.mode),
                  coloured(ready ? "ready" : "NOT READY", ready ? Colour::good : Colour::bad, screen.colour));
  field(out, "store", or_dash(status.ready.store));
  field(out, "bounces", mailbox_text(status.ready));
  for (const std::string& app : status.ready.braked)
    field(out, "brake",
          coloured(fmt::format("on for app {}: its mails rise, its right codes do not", printable(app)),
                   Colour::bad, screen.colour));
  for (const KeyInfo& key : status.keys)
    field(out, "key", or_dash(key.id) + " " + key_text(key, screen.now));
  std::vector<RelayInfo> relays = status.relays;
  if (relays.empty()) {
    for (const auto& [name, state] : status.ready.relays)
      relays.push_back({name, state, "", 0, "", std::nullopt});
  }
  return out + "\n" + show_relays(relays, screen) + "\n" + message_counts(status.stats, screen) + "\n" +
         challenge_counts(status.stats, screen) + bounce_counts(status.stats, screen);
}

std::string show_reload(const ReloadInfo& reload) {
  std::string out =
      reload.changed.empty() ? "nothing has changed\n" : fmt::format("changed: {}\n", joined(reload.changed));
  out += name_changes("relays", reload.relays);
  out += name_changes("apps", reload.apps);
  out += name_changes("templates", reload.templates);
  out += fmt::format(
      "{} {} in force{}\n", reload.keys, reload.keys == 1 ? "key" : "keys",
      reload.from_credential ? ", from systemd's credential: a new file is seen after a restart" : "");
  if (!reload.needs_restart.empty())
    out += fmt::format("left as it was until the daemon is restarted: {}\n", joined(reload.needs_restart));
  return out;
}

std::string bounces_head(const Screen& screen) {
  return Table(k_bounce_columns, screen).head();
}

std::string bounces_rows(const std::vector<BounceInfo>& bounces, const Screen& screen) {
  const Table table(k_bounce_columns, screen);
  std::string out;
  for (const BounceInfo& bounce : bounces) {
    out += table.row({{bounce.at ? age(since(*bounce.at, screen.now)) : std::string(k_nothing)},
                      {or_dash(bounce.kind)},
                      {or_dash(bounce.bounce_class)},
                      {or_dash(bounce.status)},
                      {or_dash(bounce.weight), colour_of_weight(bounce.weight)},
                      {or_dash(bounce.recipient)},
                      {or_dash(bounce.source)},
                      {or_dash(bounce.message)},
                      {or_dash(bounce.diagnostic)}});
  }
  return out;
}

std::string suppressions_head(const Screen& screen) {
  return Table(k_suppression_columns, screen).head();
}

std::string suppressions_rows(const std::vector<SuppressionInfo>& suppressions, const Screen& screen) {
  const Table table(k_suppression_columns, screen);
  std::string out;
  for (const SuppressionInfo& one : suppressions) {
    out += table.row({{or_dash(one.address)},
                      {or_dash(one.bounce_class)},
                      {one.until ? until(one.until, screen) : "always"},
                      {until(one.probe_at, screen)},
                      {or_dash(one.source)},
                      {one.since ? age(since(*one.since, screen.now)) : std::string(k_nothing)},
                      {std::to_string(one.times)},
                      {or_dash(one.app)}});
  }
  return out;
}

std::string outbox_head(const Screen& screen) {
  return Table(k_outbox_columns, screen).head();
}

std::string outbox_rows(const std::vector<MessageInfo>& messages, const Screen& screen) {
  const Table table(k_outbox_columns, screen);
  std::string out;
  for (const MessageInfo& message : messages) {
    out += table.row({{or_dash(message.id)},
                      state_cell(message.state),
                      {age_of(message, screen)},
                      {std::to_string(message.attempts)},
                      {until(message.next_attempt_at, screen)},
                      {or_dash(message.recipient)},
                      {or_dash(message.relay)},
                      {or_dash(message.reply)}});
  }
  return out;
}

std::string show_message(const MessageDetail& detail, const Screen& screen) {
  const MessageInfo& message = detail.message;
  std::string out;
  field(out, "id", or_dash(message.id));
  field(out, "state", inked_state(message.state, screen));
  field(out, "recipient", or_dash(message.recipient));
  field(out, "app", or_dash(message.app));
  field(out, "kind", or_dash(message.kind));
  field(out, "challenge", or_dash(message.challenge));
  field(out, "created", moment(message.created_at, screen));
  field(out, "not after", moment(message.not_after, screen));
  delivery_fields(out, message, screen);
  field(out, "uncertain", fmt::format("{} times", message.uncertain));
  field(out, "relay", or_dash(message.relay));
  field(out, "template",
        fmt::format("{}, locale {}, version {}", or_dash(message.template_name), or_dash(message.locale),
                    or_dash(message.template_version)));
  field(out, "message-id", or_dash(message.message_id));
  if (detail.events.empty()) return out;
  const Table table(k_event_columns, screen);
  out += "\n" + table.head();
  for (const EventInfo& event : detail.events)
    out += table.row(
        {{or_dash(event.at)}, {or_dash(event.type)}, {or_dash(event.actor)}, {or_dash(event.detail)}});
  return out;
}

std::string show_challenge(const ChallengeInfo& challenge, const Screen& screen) {
  std::string out;
  field(out, "id", or_dash(challenge.id));
  field(out, "state", inked_state(challenge.state, screen));
  field(out, "recipient", or_dash(challenge.recipient));
  field(out, "app", or_dash(challenge.app));
  field(out, "purpose", or_dash(challenge.purpose));
  field(out, "created", moment(challenge.created_at, screen));
  field(out, "expires", moment(challenge.expires_at, screen));
  field(out, "attempts left", std::to_string(challenge.attempts_left));
  field(out, "sends left", std::to_string(challenge.sends_left));
  field(out, "resend from", moment(challenge.resend_at, screen));
  field(out, "revision", std::to_string(challenge.revision));
  if (!challenge.message) {
    field(out, "message", "none");
    return out;
  }
  out += "\n";
  field(out, "message", or_dash(challenge.message->id));
  field(out, "state", inked_state(challenge.message->state, screen));
  delivery_fields(out, *challenge.message, screen);
  return out;
}

std::string show_relay_test(const RelayTestInfo& test, const Screen& screen) {
  const Table table(k_test_columns, screen);
  std::string out = table.head();
  for (const RelayTestInfo::Step& step : test.steps) {
    out += table.row({{or_dash(step.stage)},
                      {step.ok ? "ok" : "failed", step.ok ? Colour::good : Colour::bad},
                      {or_dash(step.saw)}});
  }
  return out;
}

std::string show_relays(const std::vector<RelayInfo>& relays, const Screen& screen) {
  const Table table(k_relay_columns, screen);
  std::string out = table.head();
  for (const RelayInfo& relay : relays) {
    std::string error = or_dash(relay.last_error);
    if (relay.last_error_at && !relay.last_error.empty())
      error = fmt::format("{} ago: {}", age(since(*relay.last_error_at, screen.now)), error);
    out += table.row({{or_dash(relay.name)},
                      state_cell(relay.state),
                      breaker_cell(relay.breaker),
                      {std::to_string(relay.connections)},
                      {error}});
  }
  return out;
}

}  // namespace mailotp::ctl
