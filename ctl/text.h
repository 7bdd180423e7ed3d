// Text for a terminal. What comes from outside (relays, senders, files) must never steer it. Pure.
#pragma once

#include <string>
#include <string_view>

#include "core/time.h"

namespace mailotp::ctl {

// Control characters (C0, DEL, C1), line and paragraph separators, marks that turn the direction of text and
// bytes that are no UTF-8 become \xNN or \u{NNNN}; a backslash stays.
[[nodiscard]] std::string printable(std::string_view text);

// The same, but for line ends and tabs.
[[nodiscard]] std::string printable_lines(std::string_view text);

// Columns that printable text takes on a terminal: two for the wide characters of East Asia and for emoji,
// none for marks that stand over another character.
[[nodiscard]] std::size_t columns_of(std::string_view text);
// Bytes of the longest beginning that takes no more than `width` columns.
[[nodiscard]] std::size_t fitting(std::string_view text, std::size_t width);
// Cut to `width` columns, the last one "…" where something was cut. width >= 1.
[[nodiscard]] std::string cut(std::string_view text, std::size_t width);

// At most two units and six columns: "0s", "3m12s", "5h3m", "12d4h", from 100 days on "100d".
// Negative ones are "0s".
[[nodiscard]] std::string age(core::Seconds duration);

}  // namespace mailotp::ctl
