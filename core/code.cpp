#include "core/code.h"

#include <cmath>

#include <fmt/format.h>

namespace mailotp::core {

std::string_view to_string(Alphabet alphabet) {
  switch (alphabet) {
    case Alphabet::digits:
      return "digits";
    case Alphabet::crockford32:
      return "crockford32";
    case Alphabet::alphanumeric:
      return "alphanumeric";
  }
  return "";
}

Result<Alphabet> parse_alphabet(std::string_view name) {
  for (const Alphabet a : {Alphabet::digits, Alphabet::crockford32, Alphabet::alphanumeric}) {
    if (name == to_string(a)) return a;
  }
  return fail(Errc::invalid, "alphabet must be digits, crockford32 or alphanumeric");
}

std::string_view symbols(Alphabet alphabet) {
  switch (alphabet) {
    case Alphabet::digits:
      return "0123456789";
    case Alphabet::crockford32:
      return "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    case Alphabet::alphanumeric:
      return "23456789ABCDEFGHJKMNPQRSTUVWXYZ";
  }
  return "";
}

double entropy_bits(const CodeSpec& spec) {
  return spec.length * std::log2(static_cast<double>(symbols(spec.alphabet).size()));
}

Result<> check_code_spec(const CodeSpec& spec, double floor_bits) {
  if (spec.length < k_min_code_length || spec.length > k_max_code_length)
    return fail(Errc::invalid,
                fmt::format("a code has {} to {} characters", k_min_code_length, k_max_code_length));
  if (entropy_bits(spec) < floor_bits) {
    return fail(Errc::invalid,
                fmt::format("{} characters of {} give {:.1f} bits, under the floor of {:.1f}", spec.length,
                            to_string(spec.alphabet), entropy_bits(spec), floor_bits));
  }
  return {};
}

Secret make_code(const CodeSpec& spec, RandomSource& random) {
  const std::string_view letters = symbols(spec.alphabet);
  std::string code;
  code.reserve(static_cast<std::size_t>(spec.length));
  for (int i = 0; i < spec.length; ++i)
    code += letters[uniform_below(random, static_cast<std::uint32_t>(letters.size()))];
  return Secret(std::move(code));
}

Secret normalise_typed(std::string_view typed, Alphabet alphabet) {
  std::string code;
  code.reserve(typed.size());
  for (char c : typed) {
    if (c == ' ' || c == '-' || c == '\t') continue;
    if (alphabet != Alphabet::digits) {
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
      // Crockford's own list. The other alphabet has none of these characters, so nothing is to be mapped
      // there.
      if (alphabet == Alphabet::crockford32) {
        if (c == 'I' || c == 'L') c = '1';
        if (c == 'O') c = '0';
      }
    }
    code += c;
  }
  return Secret(std::move(code));
}

}  // namespace mailotp::core
