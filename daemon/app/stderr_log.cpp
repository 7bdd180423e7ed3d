#include "daemon/app/stderr_log.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "daemon/state/clock.h"

namespace mailotp::daemon {

namespace {

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

// What came from outside may hold a line break or a terminal's escape: one line stays one line.
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

// The fields of "event=… key=value key=\"a value\"" as members of a JSON object, all of them strings.
std::string json_members(std::string_view line) {
  std::string out;
  while (!line.empty()) {
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) break;
    const std::string_view key = line.substr(0, equals);
    line.remove_prefix(equals + 1);
    const bool quoted = line.starts_with('"');
    if (quoted) line.remove_prefix(1);
    const std::size_t end = quoted ? end_of_quoted(line) : std::min(line.find(' '), line.size());
    const std::string_view value = line.substr(0, end);
    out += fmt::format(",{}:{}", nlohmann::json(key).dump(),
                       nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    line.remove_prefix(std::min(end + (quoted ? 1 : 0), line.size()));
    if (line.starts_with(' ')) line.remove_prefix(1);
  }
  return out;
}

}  // namespace

StderrLog::StderrLog(core::LogFormat format)
    : format_(format), sink_(STDERR_FILENO, [this](std::uint64_t lines) {
        return shown(core::LogLevel::warning, fmt::format("event=log_dropped lines={}", lines));
      }) {
  if (format_ == core::LogFormat::automatic)
    format_ = std::getenv("JOURNAL_STREAM") != nullptr ? core::LogFormat::journal : core::LogFormat::text;
}

void StderrLog::write(core::LogLevel level, std::string_view line) {
  sink_.write(shown(level, line));
}

std::string StderrLog::shown(core::LogLevel level, std::string_view line) const {
  switch (format_) {
    case core::LogFormat::journal:
      return fmt::format("<{}>{}\n", priority_of(level), printable(line));
    case core::LogFormat::json:
      return fmt::format("{{\"at\":\"{}\",\"level\":\"{}\"{}}}\n", core::format_rfc3339(wall_now()),
                         name_of(level), json_members(printable(line)));
    case core::LogFormat::automatic:
    case core::LogFormat::text:
      break;
  }
  return fmt::format("{} {} {}\n", core::format_rfc3339(wall_now()), name_of(level), printable(line));
}

}  // namespace mailotp::daemon
