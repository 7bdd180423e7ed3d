// Addresses in running text and in the fields of a report. Far looser than core::parse_address: a notice
// names the address as its writer had it. What is found here is shown and compared, and never put into an
// SMTP command.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mailotp::mail {

inline constexpr std::size_t k_address_max = 320;  // bytes; RFC 3696 errata 1690 allows 254

struct FoundAddress {
  std::string_view address;  // empty when there is none
  std::size_t begin = 0;     // where it begins in the text, with its opening bracket or quote
  std::size_t end = 0;       // behind it, its closing bracket or quote included
  [[nodiscard]] explicit operator bool() const { return !address.empty(); }
};

// The first address at or after `from`; in angle brackets it may be of any letters, elsewhere only ASCII.
[[nodiscard]] FoundAddress find_address(std::string_view text, std::size_t from = 0);
// The first address in angle brackets.
[[nodiscard]] FoundAddress find_angle_address(std::string_view text, std::size_t from = 0);

// The address of a field such as "rfc822; <a@b> (comment)", "utf-8;…" or "Name <a@b>"; empty for a pipe, a
// file, an X.400 name and what has no "@" with something on both sides.
[[nodiscard]] std::string_view field_address(std::string_view value);

}  // namespace mailotp::mail
