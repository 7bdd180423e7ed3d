#include "mail/bounce/find_address.h"

#include <algorithm>

#include "mail/bounce/ascii.h"

namespace mailotp::mail {
namespace {

constexpr CharSet k_local_marks("!#$%&'*+/=?^_`{|}~.-");
constexpr CharSet k_bracket_ends("<>\r\n");
constexpr CharSet k_decoration("'`=*|/#");
constexpr CharSet k_field_ends("<>(),;");

constexpr bool is_local(char c) {
  return is_alnum(c) || k_local_marks.has(c);
}
constexpr bool is_domain(char c) {
  return is_alnum(c) || c == '.' || c == '-' || c == '_';
}
bool is_wide(char c) {
  return static_cast<unsigned char>(c) >= 0x80;
}

// What stands in the brackets that open at `open`, when it looks like an address.
FoundAddress in_brackets(std::string_view text, std::size_t open) {
  const std::string_view rest = text.substr(open + 1, k_address_max + 20);
  const std::size_t close = k_bracket_ends.find_in(rest);
  if (close == std::string_view::npos || rest[close] != '>') return {};
  std::string_view inside = trim(rest.substr(0, close));
  if (istarts_with(inside, "mailto:")) inside.remove_prefix(7);
  const std::size_t at = inside.rfind('@');
  if (at == std::string_view::npos || at == 0 || at + 1 == inside.size() || inside.size() > k_address_max)
    return {};
  if (inside.find_first_of(" \t") != std::string_view::npos && inside.front() != '"') return {};
  if (inside.find("://") != std::string_view::npos) return {};
  if (inside.front() == '@') {  // a source route (RFC 5321 appendix C): "@a,@b:user@c"
    const std::size_t colon = inside.find(':');
    if (colon == std::string_view::npos || colon + 1 >= at) return {};
    inside.remove_prefix(colon + 1);
  }
  return {inside, open, open + 1 + close + 1};
}

// The address around the "@" at `at`, without brackets; `floor` is where the text before it ends.
FoundAddress around(std::string_view text, std::size_t at, std::size_t floor) {
  std::size_t begin = at;
  const std::size_t lowest = std::max(floor, at > k_address_max ? at - k_address_max : 0);
  if (begin > lowest && text[begin - 1] == '"') {  // a quoted local part
    std::size_t open = begin - 1;
    while (open > lowest && text[open - 1] != '"')
      --open;
    if (open <= lowest) return {};
    begin = open - 1;
  } else {
    while (begin > lowest && is_local(text[begin - 1]))
      --begin;
  }
  std::size_t end = at + 1;
  if (end < text.size() && text[end] == '[') {
    end = text.find(']', end);
    if (end == std::string_view::npos || end - at > 64) return {};
    ++end;
  } else {
    const std::size_t highest = std::min(text.size(), at + 256);
    while (end < highest && is_domain(text[end]))
      ++end;
    while (end > at + 1 && !is_alnum(text[end - 1]))
      --end;
  }
  const std::size_t whole = begin;
  if (istarts_with(text.substr(begin, at - begin), "smtp=")) begin += 5;
  while (begin < at && k_decoration.has(text[begin]))
    ++begin;
  if (begin == at || end <= at + 1 || end - begin > k_address_max) return {};
  const std::string_view domain = text.substr(at + 1, end - at - 1);
  if (domain.front() != '[' && domain.find('.') == std::string_view::npos) return {};
  if (domain.front() == '.' || domain.front() == '-') return {};
  if (end < text.size() && (text[end] == '\'' || text[end] == '"')) ++end;
  return {text.substr(begin, at + 1 + domain.size() - begin),
          whole > floor && text[whole - 1] == '"' ? whole - 1 : whole, end};
}

// Whether the "@" at `at` stands in brackets that close: where they open, else npos.
std::size_t bracket_before(std::string_view text, std::size_t at, std::size_t floor) {
  const std::size_t lowest = std::max(floor, at > k_address_max ? at - k_address_max : 0);
  for (std::size_t i = at; i-- > lowest;) {
    if (text[i] == '<') return i;
    if (text[i] == '>' || text[i] == '\n') return std::string_view::npos;
    if (is_blank(text[i]) && i + 1 < at && text[i + 1] != '"') {
      // "< a@b >" is rare enough, but "Name <a@b" is not: look no further than one blank.
      return i > lowest && text[i - 1] == '<' ? i - 1 : std::string_view::npos;
    }
  }
  return std::string_view::npos;
}

}  // namespace

FoundAddress find_address(std::string_view text, std::size_t from) {
  std::size_t floor = from;
  for (std::size_t at = text.find('@', from); at != std::string_view::npos; at = text.find('@', at + 1)) {
    const std::size_t open = bracket_before(text, at, floor);
    if (open != std::string_view::npos) {
      const FoundAddress found = in_brackets(text, open);
      if (found) return found;
    }
    const FoundAddress found = around(text, at, floor);
    if (found) return found;
    floor = at + 1;
  }
  return {};
}

FoundAddress find_angle_address(std::string_view text, std::size_t from) {
  for (std::size_t open = text.find('<', from); open != std::string_view::npos;
       open = text.find('<', open + 1)) {
    const FoundAddress found = in_brackets(text, open);
    if (found) return found;
  }
  return {};
}

std::string_view field_address(std::string_view value) {
  value = trim(value);
  const std::size_t at_first = value.find('@');
  const std::size_t semicolon = value.find(';');
  if (semicolon != std::string_view::npos && (at_first == std::string_view::npos || semicolon < at_first)) {
    const std::string_view type = trim(value.substr(0, semicolon));
    if (istarts_with(type, "x400") || istarts_with(type, "x.400")) return {};
    value = trim(value.substr(semicolon + 1));
  }
  const FoundAddress angle = find_angle_address(value);
  if (angle) return angle.address;
  if (value.starts_with('|') || value.starts_with('/')) return {};
  // An internationalised address (RFC 6531) has letters of any script: up to the first blank or bracket.
  std::size_t end = 0;
  bool quoted = false;
  while (end < value.size() && (quoted || (!is_blank(value[end]) && !k_field_ends.has(value[end])))) {
    if (value[end] == '"') quoted = !quoted;
    ++end;
  }
  const std::string_view whole = value.substr(0, end);
  const std::size_t at = whole.rfind('@');
  const bool wide = std::any_of(whole.begin(), whole.end(), is_wide);
  if (at != std::string_view::npos && at > 0 && at + 1 < whole.size() && whole.size() <= k_address_max &&
      (wide || whole.find_first_of(":[]\\") == std::string_view::npos)) {
    return whole.ends_with('.') ? whole.substr(0, whole.size() - 1) : whole;
  }
  return find_address(value).address;
}

}  // namespace mailotp::mail
