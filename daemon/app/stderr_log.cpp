#include "daemon/app/stderr_log.h"

#include <cstdlib>
#include <string>

#include <fmt/format.h>
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

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

}  // namespace

StderrLog::StderrLog(core::LogFormat format) : format_(format) {
  if (format_ == core::LogFormat::automatic)
    format_ = std::getenv("JOURNAL_STREAM") != nullptr ? core::LogFormat::journal : core::LogFormat::text;
}

void StderrLog::write(core::LogLevel level, std::string_view line) {
  std::string text;
  switch (format_) {
    case core::LogFormat::journal:
      text = fmt::format("<{}>{}\n", priority_of(level), printable(line));
      break;
    case core::LogFormat::json:
      text = fmt::format("{{\"at\":\"{}\",\"level\":\"{}\",\"line\":{}}}\n", core::format_rfc3339(wall_now()),
                         name_of(level), json_string(printable(line)));
      break;
    case core::LogFormat::automatic:
    case core::LogFormat::text:
      text = fmt::format("{} {} {}\n", core::format_rfc3339(wall_now()), name_of(level), printable(line));
      break;
  }
  // A log that cannot be written has nowhere to say so.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace mailotp::daemon
