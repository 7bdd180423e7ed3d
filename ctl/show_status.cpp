#include <algorithm>
#include <array>
#include <set>

#include <fmt/format.h>

#include "ctl/show.h"
#include "ctl/show_words.h"
#include "ctl/text.h"

namespace mailotp::ctl {
namespace {

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

std::string mailbox_text(const ReadyInfo& ready) {
  std::string out = or_dash(ready.bounces);
  if (ready.bounces_foreign > 0)
    out += fmt::format(", with {} mails that are not ours", ready.bounces_foreign);
  return out;
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

}  // namespace mailotp::ctl
