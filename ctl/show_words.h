// The words and cells that all tables and answers for people are made of. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "ctl/answers.h"
#include "ctl/table.h"

namespace mailotp::ctl {

inline constexpr std::size_t k_whole_line = 4096;  // a last column that takes all there is
inline constexpr std::string_view k_nothing = "-";

// Printable, and "-" for nothing.
[[nodiscard]] std::string or_dash(std::string_view text);

// Of a state of a challenge, a message or a relay.
[[nodiscard]] Colour colour_of(std::string_view state);
[[nodiscard]] Cell state_cell(std::string_view state);
[[nodiscard]] std::string inked_state(std::string_view state, const Screen& screen);

[[nodiscard]] core::Seconds since(core::WallTime then, core::WallTime now);
// "2026-11-20T12:00:00.000Z (3m12s ago)" or "(in 4s)".
[[nodiscard]] std::string moment(const std::optional<core::WallTime>& at, const Screen& screen);
// "in 4s" in the words of a table: "4s", "now".
[[nodiscard]] std::string until(const std::optional<core::WallTime>& at, const Screen& screen);

// One "name  value" line.
void field(std::string& out, std::string_view name, std::string_view value);

}  // namespace mailotp::ctl
