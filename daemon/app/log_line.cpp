#include "daemon/app/log_line.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace mailotp::daemon {

namespace {

// They mean the same in every version: whoever watches the journal knows an event by its number. A new event
// gets a new one (`uuidgen -r`), by its name's place.
constexpr std::array<std::pair<std::string_view, std::string_view>, 29> k_message_ids{{
    {"agent_gone", "8c54d10c6e9f43c796463a4784779b74"},
    {"agent_killed", "feb0dabfde974f73a5a74a4dd5a12dee"},
    {"bounce", "43e1676522b743589b2506e743230cfd"},
    {"bounce_alarm", "d1d7c3ca391548a38261eff7f532e9a7"},
    {"brake_off", "fe8093d719e94cf39b1387a392d6fa32"},
    {"brake_on", "d6cea66fb69f442dbdfa5efc4cc04ff5"},
    {"clock_stepped", "03413ffbde8d4cd0a92a3877ba6a7d74"},
    {"delivery_resumed", "2fac3daf2b304f6d96ae84a0079f6841"},
    {"delivery_stopped", "a1850a924bfb4eeaa948d2302f080a5d"},
    {"disk_has_room", "3bc5c656535b43d49c5de29c51a2999c"},
    {"disk_low", "bf2d75e940fb430d912245d9bff6200a"},
    {"log_dropped", "e4763e5161844ab49d473c2283ddc0c8"},
    {"mailbox_down", "d78f706390534019b93b20211279bf3c"},
    {"mailbox_up", "2e86f8fa95ed4430a905db285a4d4ee6"},
    {"recovered", "f351271143b64282a18341a8994e33dc"},
    {"relay_down", "86a06a9ef8764b8fa792b565922224f9"},
    {"relay_resumed", "0be5732e22eb4e59b889da5f1f901715"},
    {"relay_suspended", "92e8e48213d44966ac570aaa26d989de"},
    {"relay_up", "0c701549780d464f9a56c737c8f1b6dc"},
    {"reload_refused", "a090e2c3f31046f6899a86edbc9d9516"},
    {"reloaded", "c0f444de64a9424c9597d5c731bd56b9"},
    {"start_refused", "9af935678a60434c964382294a750a97"},
    {"started", "936522b2feaf4891b2fb80fed482f42d"},
    {"stopped", "77d73827ab914b7eaf3c20ceab1c5d9d"},
    {"stopping", "44f18a53f3d9484a9eff5112fc3a5b4b"},
    {"store_failed", "56b13fda35e34b8a8328ecca30a67787"},
    {"store_ok", "ee48290214ce4606b17aee232f5cfc7a"},
    {"watchdog_fed_again", "0f0e8a86ab6a4aa7a719a1e87bea9a97"},
    {"watchdog_withheld", "38e2baafb64d45d38e59890fe98a7fb9"},
}};

std::string_view name_of(core::LogLevel level) {
  switch (level) {
    case core::LogLevel::debug:
      return "debug";
    case core::LogLevel::info:
      return "info";
    case core::LogLevel::notice:
      return "notice";
    case core::LogLevel::warning:
      return "warning";
    case core::LogLevel::error:
      return "error";
  }
  return "";
}

int priority_of(core::LogLevel level) {
  switch (level) {
    case core::LogLevel::debug:
      return 7;
    case core::LogLevel::info:
      return 6;
    case core::LogLevel::notice:
      return 5;
    case core::LogLevel::warning:
      return 4;
    case core::LogLevel::error:
      return 3;
  }
  return 6;
}

std::string printable(std::string_view line) {
  std::string out;
  out.reserve(line.size());
  for (const char c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out;
}

bool begins_field(std::string_view line) {
  const std::size_t name = line.find_first_not_of("abcdefghijklmnopqrstuvwxyz_");
  return name != std::string_view::npos && name != 0 && line[name] == '=';
}

// A quote ends a value only where another field begins or the line ends: a value may have quotes inside.
std::size_t end_of_quoted(std::string_view line) {
  for (std::size_t at = line.find("\" "); at != std::string_view::npos; at = line.find("\" ", at + 1)) {
    if (begins_field(line.substr(at + 2))) return at;
  }
  return line.ends_with('"') ? line.size() - 1 : line.size();
}

std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::string quotable(std::string text) {
  std::ranges::replace(text, '"', '\'');
  return text;
}

std::vector<LogField> fields_of(std::string_view line) {
  std::vector<LogField> out;
  while (!line.empty()) {
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) break;
    const std::string_view key = line.substr(0, equals);
    line.remove_prefix(equals + 1);
    const bool quoted = line.starts_with('"');
    if (quoted) line.remove_prefix(1);
    const std::size_t end = quoted ? end_of_quoted(line) : std::min(line.find(' '), line.size());
    out.push_back({key, line.substr(0, end)});
    line.remove_prefix(std::min(end + (quoted ? 1 : 0), line.size()));
    if (line.starts_with(' ')) line.remove_prefix(1);
  }
  return out;
}

std::string as_text(core::WallTime at, core::LogLevel level, std::string_view line) {
  return fmt::format("{} {} {}\n", core::format_rfc3339(at), name_of(level), printable(line));
}

std::string as_json(core::WallTime at, core::LogLevel level, std::string_view line) {
  const std::string text = printable(line);
  std::string out = fmt::format("{{\"at\":\"{}\",\"level\":\"{}\"", core::format_rfc3339(at), name_of(level));
  for (const LogField& field : fields_of(text))
    out += fmt::format(",{}:{}", json_string(field.key), json_string(field.value));
  return out + "}\n";
}

std::string as_prefixed(core::LogLevel level, std::string_view line) {
  return fmt::format("<{}>{}\n", priority_of(level), printable(line));
}

std::string as_journal_entry(core::LogLevel level, std::string_view line) {
  const std::string text = printable(line);
  std::string out =
      fmt::format("MESSAGE={}\nPRIORITY={}\nSYSLOG_IDENTIFIER=mailotpd\n", text, priority_of(level));
  for (const LogField& field : fields_of(text)) {
    out += "MAILOTPD_";
    std::ranges::transform(field.key, std::back_inserter(out), [](char c) {
      const bool lower = c >= 'a' && c <= 'z';
      const bool plain = lower || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      return lower ? static_cast<char>(c - 'a' + 'A') : plain ? c : '_';
    });
    out += '=';
    out += field.value;
    out += '\n';
    if (field.key != "event") continue;
    if (const std::string_view id = message_id_of(field.value); !id.empty())
      out += fmt::format("MESSAGE_ID={}\n", id);
  }
  return out;
}

std::string_view message_id_of(std::string_view event) {
  const auto* found =
      std::ranges::find(k_message_ids, event, &std::pair<std::string_view, std::string_view>::first);
  return found == k_message_ids.end() ? std::string_view() : found->second;
}

}  // namespace mailotp::daemon
