// Text of a stranger, made fit for logs, JSON and terminals.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mailotp::mail {

inline constexpr std::size_t k_reason_bytes = 500;

// Bytes outside 0x20..0x7e become \xNN; cut at `most` bytes, never inside an escape.
[[nodiscard]] std::string printable(std::string_view bytes, std::size_t most = k_reason_bytes);

}  // namespace mailotp::mail
