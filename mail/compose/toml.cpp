#include "mail/compose/toml.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace mailotp::mail {

namespace {

constexpr std::size_t k_most_parts = 16;  // of a dotted key

// The library repeats what it read, a line break or an escape sequence too.
std::string as_one_line(std::string_view text) {
  constexpr std::string_view k_hex = "0123456789abcdef";
  std::string line;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7F)
      line += c;
    else
      line += {'\\', 'x', k_hex[byte >> 4U], k_hex[byte & 0x0FU]};
  }
  return line;
}

// Where the string ends that begins at `start`; at the end of the line or the text if it is not closed.
std::size_t end_of_string(std::string_view text, std::size_t start) {
  const char quote = text[start];
  const std::string triple(3, quote);
  const bool long_one = text.substr(start).starts_with(triple);
  for (std::size_t pos = start + (long_one ? 3 : 1); pos < text.size(); ++pos) {
    if (text[pos] == '\\' && quote == '"')
      ++pos;
    else if (long_one ? text.substr(pos).starts_with(triple) : text[pos] == quote)
      return pos + (long_one ? 3 : 1);
    else if (text[pos] == '\n' && !long_one)
      return pos;
  }
  return text.size();
}

// The first dot that makes a key too long. What is no TOML is read as far as the library reads it: it stops
// at the first fault.
std::optional<std::size_t> find_long_key(std::string_view text) {
  std::size_t dots = 0;
  for (std::size_t pos = 0; pos < text.size();) {
    const char c = text[pos];
    if (c == '"' || c == '\'') {
      pos = end_of_string(text, pos);
      continue;
    }
    if (c == '#') {
      pos = std::min(text.find('\n', pos), text.size());
      continue;
    }
    if (std::string_view("=,[]{}\n").find(c) != std::string_view::npos) dots = 0;
    if (c == '.' && ++dots == k_most_parts) return pos;
    ++pos;
  }
  return std::nullopt;
}

toml::source_position position_of(std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const std::size_t line = before.rfind('\n') + 1;  // npos + 1 is 0
  const auto starts = [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; };
  return {static_cast<std::uint32_t>(1 + std::count(before.begin(), before.end(), '\n')),
          static_cast<std::uint32_t>(
              1 + std::count_if(before.begin() + static_cast<std::ptrdiff_t>(line), before.end(), starts))};
}

}  // namespace

tl::expected<toml::table, TomlError> parse_toml(std::string_view text) {
  if (const auto dot = find_long_key(text))
    return tl::unexpected<TomlError>(TomlError{position_of(text, *dot), "a key has too many parts"});
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& thrown) {
    return tl::unexpected<TomlError>(TomlError{thrown.source().begin, as_one_line(thrown.description())});
  }
}

}  // namespace mailotp::mail
