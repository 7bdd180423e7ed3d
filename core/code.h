// One-time codes: how they are made and how what a person typed is compared with them.
#pragma once

#include <string>
#include <string_view>

#include "core/random.h"
#include "core/result.h"
#include "core/secret.h"

namespace mailotp::core {

enum class Alphabet {
  digits,        // 0-9
  crockford32,   // 0-9 A-Z without I L O U; typed I, L read as 1 and O as 0
  alphanumeric,  // 2-9 A-Z without look-alikes (0 O 1 I L)
};

[[nodiscard]] std::string_view to_string(Alphabet alphabet);
[[nodiscard]] Result<Alphabet> parse_alphabet(std::string_view name);
[[nodiscard]] std::string_view symbols(Alphabet alphabet);

struct CodeSpec {
  int length = 6;  // characters, 4 to 12
  Alphabet alphabet = Alphabet::digits;
  bool operator==(const CodeSpec&) const = default;
};

inline constexpr int k_min_code_length = 4;
inline constexpr int k_max_code_length = 12;
inline constexpr double k_default_entropy_floor = 19.9;  // bits: six digits

[[nodiscard]] double entropy_bits(const CodeSpec& spec);
// Length in range and entropy at or above the floor (bits), else Errc::invalid.
[[nodiscard]] Result<> check_code_spec(const CodeSpec& spec, double floor_bits);

// Every code of the spec is equally likely; leading zeros are kept.
[[nodiscard]] Secret make_code(const CodeSpec& spec, RandomSource& random);

// What a person typed, in the form in which codes are compared: without spaces and hyphens, upper case and
// with look-alikes mapped where the alphabet has letters. It may still be wrong in length or have foreign
// characters: it will not match.
[[nodiscard]] Secret normalise_typed(std::string_view typed, Alphabet alphabet);

}  // namespace mailotp::core
