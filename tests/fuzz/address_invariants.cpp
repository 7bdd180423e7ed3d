#include "tests/fuzz/address_invariants.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include "core/address.h"
#include "mail/compose/utf8.h"
#include "tests/fuzz/must.h"

namespace mailotp::fuzz {
namespace {

using core::Address;
using core::NamedAddress;

constexpr std::size_t k_longest_error = 300;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// atext of RFC 5322 section 3.2.3.
bool is_atom(char c) {
  return is_letter(c) || is_digit(c) ||
         std::string_view("!#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos;
}

// Between "MAIL FROM:<" and ">" it can end neither the address nor the line.
void check_local(std::string_view local) {
  must(local.size() >= 1 && local.size() <= 64, "a local part has 1 to 64 octets");
  if (local.front() != '"') {
    must(local.front() != '.' && local.back() != '.' && local.find("..") == std::string_view::npos,
         "atoms stand between dots");
    must(std::all_of(local.begin(), local.end(), [](char c) { return is_atom(c) || c == '.'; }),
         "an unquoted local part has atoms only");
    return;
  }
  must(local.size() >= 2 && local.back() == '"', "a quoted local part is closed");
  const std::string_view inner = local.substr(1, local.size() - 2);
  for (std::size_t i = 0; i < inner.size(); ++i) {
    must(inner[i] >= ' ' && inner[i] <= '~' && inner[i] != '"', "a quoted local part is printable");
    if (inner[i] != '\\') continue;
    ++i;
    must(i < inner.size() && (inner[i] == '"' || inner[i] == '\\'), "only what must be is escaped");
  }
}

void check_domain(std::string_view domain) {
  must(domain.size() >= 3 && domain.size() <= 253, "a domain has 3 to 253 octets");
  if (domain.front() == '[') {
    must(domain.back() == ']', "a literal is closed");
    const std::string_view inner = domain.substr(1, domain.size() - 2);
    must(std::all_of(inner.begin(), inner.end(),
                     [](char c) { return is_letter(c) || is_digit(c) || c == '.' || c == ':'; }),
         "a literal has letters, digits, dots and colons");
    return;
  }
  std::size_t labels = 0;
  for (std::string_view rest = domain;; ++labels) {
    const std::size_t end = std::min(rest.find('.'), rest.size());
    const std::string_view label = rest.substr(0, end);
    must(label.size() >= 1 && label.size() <= 63 && label.front() != '-' && label.back() != '-',
         "a label has 1 to 63 octets and no hyphen at its ends");
    must(std::all_of(label.begin(), label.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-'; }),
         "a label has lower-case letters, digits and hyphens");
    if (end == rest.size()) break;
    rest.remove_prefix(end + 1);
  }
  must(labels >= 1, "a domain has two labels at least");
}

void check_parsed(const Address& address) {
  check_local(address.local);
  check_domain(address.domain);
  const std::string mailbox = address.mailbox();
  must(mailbox == address.local + "@" + address.domain && mailbox.size() <= 254,
       "a mailbox has at most 254 octets");
  const auto again = core::parse_address(mailbox);
  must(again.has_value() && *again == address, "what parses parses again to the same");

  const std::string key = address.key();
  const auto of_key = core::parse_address(key);
  must(of_key.has_value() && of_key->mailbox() == key && of_key->key() == key,
       "a key is an address, and its own key");
  std::string upper = mailbox;
  if (address.domain.front() != '[')
    for (char& c : upper)
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  const auto of_upper = core::parse_address(upper);
  must(of_upper.has_value() && of_upper->key() == key, "the case of letters makes no other key");

  const auto bare = core::parse_named_address(mailbox);
  must(bare.has_value() && bare->address == address && bare->name.empty(), "an address needs no name");
  const auto bracketed = core::parse_named_address("<" + mailbox + ">");
  must(bracketed.has_value() && bracketed->address == address && bracketed->name.empty(),
       "an address may stand in brackets");
}

std::string quoted(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

void check_named(const NamedAddress& named, std::string_view text) {
  check_parsed(named.address);
  must(!has_control(named.name), "a name has no control characters");
  must(mail::valid_utf8(named.name) || !mail::valid_utf8(text), "a name is no worse than the text");
  must(named.name.size() < text.size(), "a name is a part of the text");
  const auto again = core::parse_named_address(quoted(named.name) + " <" + named.address.mailbox() + ">");
  must(again.has_value() && again->address == named.address && again->name == named.name,
       "a name in quotes is the same name");
}

void check_error(const core::Error& error) {
  must(error.code == core::Errc::invalid, "an address that is none is invalid");
  must(!error.what.empty() && error.what.size() <= k_longest_error && !has_control(error.what) &&
           mail::valid_utf8(error.what),
       "a refusal says why in one line");
}

}  // namespace

void check_address(std::string_view text) {
  const auto address = core::parse_address(text);
  if (address)
    check_parsed(*address);
  else
    check_error(address.error());

  const auto named = core::parse_named_address(text);
  if (named)
    check_named(*named, text);
  else
    check_error(named.error());
  must(!address || (named && named->address == *address), "every address is one without a name too");
}

}  // namespace mailotp::fuzz
