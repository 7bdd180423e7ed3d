#include "daemon/config/units.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

#include <arpa/inet.h>
#include <fmt/format.h>

namespace mailotp::daemon {
namespace {

using core::Errc;

struct Unit {
  std::string_view name;
  std::int64_t millis;
};
constexpr std::array<Unit, 5> k_units{
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}}};
constexpr std::int64_t k_max_number = 1'000'000'000;
constexpr core::Millis k_max_period{366LL * 86'400'000};
constexpr std::size_t k_max_socket_path = 107;  // sun_path less its NUL
constexpr std::size_t k_max_host = 253;
constexpr std::size_t k_max_label = 63;
constexpr std::size_t k_max_name = 32;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_alnum(char c) {
  return is_digit(c) || is_lower(c) || (c >= 'A' && c <= 'Z');
}

std::optional<std::int64_t> parse_number(std::string_view digits) {
  if (digits.empty() || !std::all_of(digits.begin(), digits.end(), is_digit)) return std::nullopt;
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc{} || number > k_max_number) return std::nullopt;
  return number;
}

bool is_address(int family, std::string_view text) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  return inet_pton(family, std::string(text).c_str(), bytes.data()) == 1;
}

bool is_label(std::string_view label) {
  return !label.empty() && label.size() <= k_max_label && label.front() != '-' && label.back() != '-' &&
         std::all_of(label.begin(), label.end(), [](char c) { return is_alnum(c) || c == '-'; });
}

bool is_host_name(std::string_view text) {
  if (text.empty() || text.size() > k_max_host) return false;
  std::string_view last;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find('.', start), text.size());
    last = text.substr(start, end - start);
    if (!is_label(last)) return false;
    start = end + 1;
  }
  // All digits at the end would be an IPv4 address that inet_pton did not take.
  return !std::all_of(last.begin(), last.end(), is_digit);
}

core::Result<> refuse(std::string_view what) {
  return core::fail(Errc::invalid, std::string(what));
}

using Rule = core::Result<> (*)(std::string_view);
core::Result<> or_empty(std::string_view text, Rule rule) {
  return text.empty() ? core::Result<>{} : rule(text);
}

}  // namespace

std::optional<core::Millis> parse_duration(std::string_view text) {
  const auto unit_at = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = parse_number(text.substr(0, unit_at));
  if (!number) return std::nullopt;
  for (const Unit& unit : k_units) {
    if (text.substr(unit_at) == unit.name) return core::Millis{*number * unit.millis};
  }
  return std::nullopt;
}

std::optional<std::int64_t> parse_size(std::string_view text) {
  constexpr std::array<std::string_view, 5> k_size_units{"B", "KiB", "MiB", "GiB", "TiB"};
  constexpr int k_step = 10;  // bits from one unit to the next
  const auto unit_at = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = parse_number(text.substr(0, unit_at));
  if (!number) return std::nullopt;
  if (text == "0") return 0;
  int bits = 0;
  for (const std::string_view unit : k_size_units) {
    if (text.substr(unit_at) == unit && *number <= INT64_MAX >> bits) return *number << bits;
    bits += k_step;
  }
  return std::nullopt;
}

std::string format_duration(core::Millis duration) {
  if (duration.count() == 0) return "0s";
  std::string shortest;
  for (const Unit& unit : k_units) {
    if (duration.count() % unit.millis != 0) continue;
    std::string spelled = fmt::format("{}{}", duration.count() / unit.millis, unit.name);
    if (shortest.empty() || spelled.size() < shortest.size()) shortest = std::move(spelled);
  }
  return shortest;
}

std::optional<core::Rate> parse_rate(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto max = parse_number(text.substr(0, slash));
  const auto period = parse_duration(text.substr(slash + 1));
  if (!max || *max < 1 || !period) return std::nullopt;
  if (*period < core::Seconds{1} || *period > k_max_period || period->count() % 1000 != 0)
    return std::nullopt;
  return core::Rate{*max, std::chrono::duration_cast<core::Seconds>(*period)};
}

std::optional<std::uint32_t> parse_file_mode(std::string_view text) {
  if (text.size() < 3 || text.size() > 4) return std::nullopt;
  std::uint32_t mode = 0;
  for (const char c : text) {
    if (c < '0' || c > '7') return std::nullopt;
    mode = mode * 8 + static_cast<std::uint32_t>(c - '0');
  }
  if (mode > 0777) return std::nullopt;
  return mode;
}

core::Result<> absolute_path(std::string_view text) {
  if (!text.starts_with('/')) return refuse("must be an absolute path, beginning with /");
  return {};
}

core::Result<> absolute_path_or_empty(std::string_view text) {
  return or_empty(text, absolute_path);
}

core::Result<> socket_path(std::string_view text) {
  if (text.size() > k_max_socket_path) {
    return refuse(fmt::format("must be at most {} bytes, the limit of a Unix socket, not {}",
                              k_max_socket_path, text.size()));
  }
  return absolute_path(text);
}

core::Result<> socket_path_or_empty(std::string_view text) {
  return or_empty(text, socket_path);
}

core::Result<> host_name(std::string_view text) {
  if (!is_host_name(text))
    return refuse("must be a host name of letters, digits, hyphens and dots, such as \"otp.example.org\"");
  return {};
}

core::Result<> host(std::string_view text) {
  if (!is_address(AF_INET, text) && !is_address(AF_INET6, text) && !is_host_name(text)) {
    return refuse(
        "must be a host name of letters, digits, hyphens and dots, or an IP address without brackets");
  }
  return {};
}

core::Result<> host_or_empty(std::string_view text) {
  return or_empty(text, host);
}

core::Result<> locale(std::string_view text) {
  constexpr std::size_t k_max_subtag = 8;
  std::size_t subtags = 0;
  for (std::size_t start = 0; start <= text.size(); ++subtags) {
    const std::size_t end = std::min(text.find('-', start), text.size());
    const auto subtag = text.substr(start, end - start);
    const bool letters = std::none_of(subtag.begin(), subtag.end(), is_digit);
    if (subtag.empty() || subtag.size() > k_max_subtag ||
        !std::all_of(subtag.begin(), subtag.end(), is_alnum) ||
        (subtags == 0 && (!letters || subtag.size() < 2)))
      return refuse("must be a language tag, such as \"en\" or \"de-AT\"");
    start = end + 1;
  }
  return {};
}

core::Result<> not_empty(std::string_view text) {
  if (text.empty()) return refuse("must not be empty");
  return {};
}

core::Result<> relay_name(std::string_view text) {
  const bool plain =
      std::all_of(text.begin(), text.end(), [](char c) { return is_lower(c) || is_digit(c) || c == '-'; });
  if (text.empty() || text.size() > k_max_name || !plain)
    return refuse("must be 1 to 32 characters of a-z, 0-9 and hyphen");
  return {};
}

core::Result<> plain_name(std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(),
                                 [](char c) { return is_lower(c) || is_digit(c) || c == '-' || c == '_'; });
  if (text.empty() || text.size() > k_max_name || !plain)
    return refuse("must be 1 to 32 characters of a-z, 0-9, hyphen and underscore");
  return {};
}

core::Result<> account_name(std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return is_alnum(c) || c == '-' || c == '_' || c == '.' || c == '$' || c == '@';
  });
  if (text.empty() || text.size() > k_max_name || text.front() == '-' || !plain)
    return refuse("must be the name of an account of this system, at most 32 characters");
  return {};
}

core::Result<> account_name_or_empty(std::string_view text) {
  return or_empty(text, account_name);
}

bool is_loopback(std::string_view host) {
  return host == "localhost" || host == "::1" || (host.starts_with("127.") && is_address(AF_INET, host));
}

}  // namespace mailotp::daemon
