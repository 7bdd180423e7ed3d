// One line of the log, "event=name key=value key=\"a value\"", in each form that it is written in. Pure. All
// of them keep one event on one line: what came from outside may hold a line break or a terminal's escape.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/log.h"
#include "core/time.h"

namespace mailotp::daemon {

struct LogField {
  std::string_view key;
  std::string_view value;
  bool operator==(const LogField&) const = default;
};

// What came from outside, for the inside of quotes: without some of its own it cannot pass for fields of
// ours.
[[nodiscard]] std::string quotable(std::string text);

// As they stand in the line, which must live as long. A quote ends a value only where another field begins or
// the line ends: a value may have quotes inside.
[[nodiscard]] std::vector<LogField> fields_of(std::string_view line);

// "2026-11-28T06:00:00.000Z warning event=…\n"
[[nodiscard]] std::string as_text(core::WallTime at, core::LogLevel level, std::string_view line);
// {"at":…,"level":…,"event":…}\n; every value is a string.
[[nodiscard]] std::string as_json(core::WallTime at, core::LogLevel level, std::string_view line);
// "<4>event=…\n", for whoever reads standard error and knows priorities (sd-daemon(3)).
[[nodiscard]] std::string as_prefixed(core::LogLevel level, std::string_view line);
// A datagram for journald, in its native protocol: MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, each field under
// MAILOTPD_ and its name, and MESSAGE_ID for the events that have one (docs/SERVICE.md lists them).
[[nodiscard]] std::string as_journal_entry(core::LogLevel level, std::string_view line);

// 32 hexadecimal digits; empty: it has none.
[[nodiscard]] std::string_view message_id_of(std::string_view event);

}  // namespace mailotp::daemon
