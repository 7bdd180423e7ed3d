#include "core/address.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <memory>

#include <fmt/format.h>
#include <idn2.h>

namespace mailotp::core {

namespace {

constexpr std::size_t k_max_address = 254;
constexpr std::size_t k_max_local = 64;
constexpr std::size_t k_max_domain = 253;
constexpr std::size_t k_max_label = 63;

bool is_alpha(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_ascii(std::string_view s) {
  return std::ranges::all_of(s, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}
bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}
bool is_atext(char c) {
  return is_alpha(c) || is_digit(c) ||
         std::string_view("!#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos;
}

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

bool is_dot_string(std::string_view s) {
  bool atom = false;
  for (const char c : s) {
    if (c == '.') {
      if (!atom) return false;
      atom = false;
    } else if (is_atext(c)) {
      atom = true;
    } else {
      return false;
    }
  }
  return atom;
}

struct Local {
  std::string content;  // without quotes and escapes
  std::size_t length;   // octets that it took in the input
};

tl::unexpected<Error> needs_smtputf8() {
  return fail(Errc::invalid,
              "the local part (before the @) has a non-ASCII character: mail to it needs SMTPUTF8, which is "
              "not supported");
}

// Quoted-string of RFC 5321: qtextSMTP is printable without '"' and '\', a pair is '\' and a printable.
Result<Local> read_quoted(std::string_view text) {
  std::string content;
  for (std::size_t i = 1; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') return Local{std::move(content), i + 1};
    if (c == '\\') {
      if (++i >= text.size()) break;
    }
    if (static_cast<unsigned char>(text[i]) >= 0x80) return needs_smtputf8();
    if (is_control(text[i])) break;
    content += text[i];
  }
  return fail(Errc::invalid, "the quoted local part is not closed or has a character that is not allowed");
}

std::string quote(std::string_view content) {
  std::string out = "\"";
  for (const char c : content) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

Result<> check_labels(std::string_view domain) {
  if (domain.size() > k_max_domain) return fail(Errc::invalid, "the domain is longer than 253 octets");
  std::size_t labels = 0;
  std::string_view last;
  for (std::size_t start = 0; start <= domain.size();) {
    const std::size_t end = std::min(domain.find('.', start), domain.size());
    const std::string_view label = domain.substr(start, end - start);
    if (label.empty()) return fail(Errc::invalid, "the domain has an empty label");
    if (label.size() > k_max_label)
      return fail(Errc::invalid, "a label of the domain is longer than 63 octets");
    if (label.front() == '-' || label.back() == '-')
      return fail(Errc::invalid, "a label of the domain begins or ends with a hyphen");
    if (!std::ranges::all_of(label, [](char c) { return is_alpha(c) || is_digit(c) || c == '-'; }))
      return fail(Errc::invalid, "the domain has a character that is neither letter, digit, hyphen nor dot");
    last = label;
    ++labels;
    start = end + 1;
  }
  if (labels < 2) return fail(Errc::invalid, "the domain has one label only; a mail domain has two at least");
  if (std::ranges::all_of(last, is_digit))
    return fail(Errc::invalid, "the last label of the domain is a number");
  return {};
}

bool is_ipv4(std::string_view s) {
  int parts = 0;
  for (std::size_t start = 0; start <= s.size(); ++parts) {
    const std::size_t end = std::min(s.find('.', start), s.size());
    const std::string_view part = s.substr(start, end - start);
    unsigned value = 0;  // no sign: "-0" is no number here
    const auto [ptr, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (part.empty() || part.size() > 3 || error != std::errc{} || ptr != part.data() + part.size() ||
        value > 255)
      return false;
    start = end + 1;
  }
  return parts == 4;
}

// RFC 5321 section 4.1.3: eight groups, or at most six with one "::"; the last two may be an IPv4 address.
bool is_ipv6(std::string_view s) {
  const std::size_t gap = s.find("::");
  if (gap != std::string_view::npos && s.find("::", gap + 1) != std::string_view::npos) return false;
  const auto count_groups = [](std::string_view part, bool may_end_in_ipv4) -> int {
    if (part.empty()) return 0;
    int groups = 0;
    for (std::size_t start = 0; start <= part.size();) {
      const std::size_t end = std::min(part.find(':', start), part.size());
      const std::string_view group = part.substr(start, end - start);
      if (end == part.size() && may_end_in_ipv4 && group.find('.') != std::string_view::npos)
        return is_ipv4(group) ? groups + 2 : -1;
      if (group.empty() || group.size() > 4 ||
          group.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos)
        return -1;
      ++groups;
      start = end + 1;
    }
    return groups;
  };
  if (gap == std::string_view::npos) return count_groups(s, true) == 8;
  const int before = count_groups(s.substr(0, gap), false), after = count_groups(s.substr(gap + 2), true);
  return before >= 0 && after >= 0 && before + after <= 6;
}

Result<std::string> parse_literal(std::string_view domain) {
  const std::string_view inner = domain.substr(1, domain.size() - 2);
  constexpr std::string_view k_tag = "ipv6:";
  if (is_ipv4(inner)) return std::string(domain);
  if (lower(inner.substr(0, k_tag.size())) == k_tag && is_ipv6(inner.substr(k_tag.size())))
    return "[IPv6:" + lower(inner.substr(k_tag.size())) + "]";
  return fail(Errc::invalid, "the address literal is neither [IPv4] nor [IPv6:…]");
}

Result<std::string> parse_domain(std::string_view domain) {
  if (domain.empty()) return fail(Errc::invalid, "the domain is missing");
  if (domain.front() == '[' && domain.back() == ']' && domain.size() > 2) return parse_literal(domain);
  std::string ascii;
  if (is_ascii(domain)) {
    ascii = lower(domain);
  } else {
    char* encoded = nullptr;
    const std::string terminated(domain);
    // Non-transitional: "ß" stays a letter of its own, as registries and browsers take it today (UTS #46).
    const int rc =
        idn2_lookup_u8(reinterpret_cast<const std::uint8_t*>(terminated.c_str()),
                       reinterpret_cast<std::uint8_t**>(&encoded), IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    const std::unique_ptr<char, void (*)(void*)> owner(encoded, idn2_free);
    if (rc != IDN2_OK)
      return fail(Errc::invalid, fmt::format("the domain is no valid IDN: {}", idn2_strerror(rc)));
    ascii = lower(encoded);
  }
  if (const auto ok = check_labels(ascii); !ok) return tl::unexpected(ok.error());
  return ascii;
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t'))
    s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t'))
    s.remove_suffix(1);
  return s;
}

// Where the last "<" outside of quotes stands: a name and a local part may hold others in quotes.
// Errc::invalid when there is none.
Result<std::size_t> find_bracket(std::string_view text) {
  bool quoted = false;
  std::size_t found = std::string_view::npos;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') quoted = !quoted;
    if (quoted && text[i] == '\\') ++i;
    if (!quoted && text[i] == '<') found = i;
  }
  if (quoted) return fail(Errc::invalid, "the name or the address has a quote that is not closed");
  if (found == std::string_view::npos) return fail(Errc::invalid, "the address has a > without its <");
  return found;
}

}  // namespace

std::string Address::key() const {
  return lower(local) + "@" + domain;
}

Result<Address> parse_address(std::string_view text) {
  if (text.empty()) return fail(Errc::invalid, "the address is empty");
  // The bound on the input keeps work small; the A-label form is measured again below.
  if (text.size() > 4 * k_max_address) return fail(Errc::invalid, "the address is longer than 254 octets");
  if (std::ranges::any_of(text, is_control))
    return fail(Errc::invalid, "the address has a control character, such as a line break");

  Address address;
  std::size_t at = 0;
  if (text.front() == '"') {
    const auto quoted = read_quoted(text);
    if (!quoted) return tl::unexpected(quoted.error());
    at = quoted->length;
    address.local = is_dot_string(quoted->content) ? quoted->content : quote(quoted->content);
  } else {
    at = text.find('@');
    if (at == std::string_view::npos) return fail(Errc::invalid, "the address has no @");
    address.local = std::string(text.substr(0, at));
    if (!is_ascii(address.local)) return needs_smtputf8();
    if (!is_dot_string(address.local))
      return fail(
          Errc::invalid,
          "the local part (before the @) is empty, has a dot too many or a character that is not allowed");
  }
  if (at >= text.size() || text[at] != '@')
    return fail(Errc::invalid, "the address has no @ after its local part");
  if (address.local.size() > k_max_local)
    return fail(Errc::invalid, "the local part is longer than 64 octets");

  auto domain = parse_domain(text.substr(at + 1));
  if (!domain) return tl::unexpected(domain.error());
  address.domain = std::move(*domain);
  if (address.local.size() + 1 + address.domain.size() > k_max_address)
    return fail(Errc::invalid, "the address is longer than 254 octets");
  return address;
}

Result<NamedAddress> parse_named_address(std::string_view text) {
  text = trim(text);
  if (std::ranges::any_of(text, is_control))
    return fail(Errc::invalid, "the address has a control character");
  NamedAddress named;
  std::string_view mailbox = text;
  if (!text.empty() && text.back() == '>') {
    const auto open = find_bracket(text);
    if (!open) return tl::unexpected(open.error());
    mailbox = text.substr(*open + 1, text.size() - *open - 2);
    std::string_view name = trim(text.substr(0, *open));
    if (name.size() >= 2 && name.front() == '"' && name.back() == '"') {
      name = name.substr(1, name.size() - 2);
      for (std::size_t i = 0; i < name.size(); ++i) {
        if (name[i] == '\\' && i + 1 < name.size()) ++i;
        named.name += name[i];
      }
    } else {
      named.name = std::string(name);
    }
  }
  auto address = parse_address(mailbox);
  if (!address) return tl::unexpected(address.error());
  named.address = std::move(*address);
  return named;
}

}  // namespace mailotp::core
