// Whether a job can pass through SMTP, and libesmtp, byte for byte. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/delivery.h"

namespace mailotp::mail {

// At most 80 characters of 0x21..0x7e: what ENVID and ORCPT may carry (libesmtp's buffer is 255 after xtext).
[[nodiscard]] bool is_plain_parameter(std::string_view text);

// Why not: a control in an address; content with a bare CR, a bare LF or NUL, without the empty line after
// its header, without exactly one Date, From and Message-ID, or with a field that libesmtp would drop.
[[nodiscard]] std::optional<std::string> why_unsendable(const core::Job& job);

}  // namespace mailotp::mail
