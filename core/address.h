// Mail addresses: the strict mailbox of RFC 5321 section 4.1.2, with an internationalised domain taken to
// A-labels (RFC 5890, by libidn2). What passes here is safe in an SMTP command: no CR, LF, control, angle
// bracket or space outside quotes.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace mailotp::core {

struct Address {
  std::string local;   // as given; quoted only where it must be
  std::string domain;  // lower case, A-labels, or an address literal in brackets
  [[nodiscard]] std::string mailbox() const { return local + "@" + domain; }
  // One key for all spellings that reach the same mailbox in practice: local part in lower case.
  [[nodiscard]] std::string key() const;
  bool operator==(const Address&) const = default;
};

// At most 254 octets (RFC 5321 section 4.5.3.1.3 less the brackets), local part at most 64, a domain of at
// least two labels or a literal. A non-ASCII local part is refused with its reason: the SMTP engine has no
// SMTPUTF8. Errc::invalid.
[[nodiscard]] Result<Address> parse_address(std::string_view text);

struct NamedAddress {
  std::string name;  // display name, UTF-8, without quotes; may be empty
  Address address;
  bool operator==(const NamedAddress&) const = default;
};

// "Name <a@b>", "\"Na, me\" <a@b>" or "a@b".
[[nodiscard]] Result<NamedAddress> parse_named_address(std::string_view text);

}  // namespace mailotp::core
