#include "ctl/show_words.h"

#include <algorithm>
#include <initializer_list>

#include <fmt/format.h>

#include "ctl/text.h"

namespace mailotp::ctl {

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

Cell state_cell(std::string_view state) {
  return {or_dash(state), colour_of(state)};
}

core::Seconds since(core::WallTime then, core::WallTime now) {
  return std::chrono::duration_cast<core::Seconds>(now - then);
}

std::string moment(const std::optional<core::WallTime>& at, const Screen& screen) {
  if (!at) return std::string(k_nothing);
  const auto ago = since(*at, screen.now);
  return fmt::format("{} ({})", core::format_rfc3339(*at),
                     ago.count() >= 0 ? age(ago) + " ago" : "in " + age(-ago));
}

std::string until(const std::optional<core::WallTime>& at, const Screen& screen) {
  if (!at) return std::string(k_nothing);
  const auto left = since(screen.now, *at);
  return left.count() <= 0 ? "now" : age(left);
}

void field(std::string& out, std::string_view name, std::string_view value) {
  out += fmt::format("{:<14}{}\n", name, value);
}

std::string inked_state(std::string_view state, const Screen& screen) {
  return coloured(or_dash(state), colour_of(state), screen.colour);
}

}  // namespace mailotp::ctl
