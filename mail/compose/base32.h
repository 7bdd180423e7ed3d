// Base32 (RFC 4648 section 6) without padding: lower case when written, any case when read.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mailotp::mail {

void append_base32(std::string& out, std::string_view bytes);
// Nothing: a letter of no alphabet, a length that no bytes have, or bits behind the last byte: each sequence
// of bytes has one spelling.
[[nodiscard]] std::optional<std::string> read_base32(std::string_view text);

}  // namespace mailotp::mail
