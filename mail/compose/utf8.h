// UTF-8 (RFC 3629), one code point at a time. Pure.
#pragma once

#include <cstddef>
#include <string_view>

namespace mailotp::mail {

inline constexpr char32_t k_bad_utf8 = 0xFFFF'FFFF;

// The code point at `pos`, which moves past it; pos < text.size(). Overlong forms, surrogates, values over
// U+10FFFF and cut sequences are k_bad_utf8, and `pos` then moves by one.
[[nodiscard]] char32_t next_code_point(std::string_view text, std::size_t& pos);

[[nodiscard]] bool valid_utf8(std::string_view text);

// Code points; `text` is valid UTF-8.
[[nodiscard]] std::size_t count_characters(std::string_view text);

}  // namespace mailotp::mail
