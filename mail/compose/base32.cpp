#include "mail/compose/base32.h"

#include <cstdint>

namespace mailotp::mail {
namespace {

constexpr std::string_view k_alphabet = "abcdefghijklmnopqrstuvwxyz234567";
constexpr std::uint32_t k_no_digit = 32;

constexpr std::uint32_t digit_of(char c) {
  if (c >= 'a' && c <= 'z') return static_cast<std::uint32_t>(c - 'a');
  if (c >= 'A' && c <= 'Z') return static_cast<std::uint32_t>(c - 'A');
  if (c >= '2' && c <= '7') return static_cast<std::uint32_t>(c - '2' + 26);
  return k_no_digit;
}

}  // namespace

void append_base32(std::string& out, std::string_view bytes) {
  std::uint32_t bits = 0;
  int have = 0;
  for (const char byte : bytes) {
    bits = (bits << 8 | static_cast<unsigned char>(byte)) & 0xffff;
    for (have += 8; have >= 5; have -= 5)
      out.push_back(k_alphabet[bits >> (have - 5) & 31]);
  }
  if (have > 0) out.push_back(k_alphabet[bits << (5 - have) & 31]);
}

std::optional<std::string> read_base32(std::string_view text) {
  std::string out;
  out.reserve(text.size() * 5 / 8);
  std::uint32_t bits = 0;
  int have = 0;
  for (const char c : text) {
    const std::uint32_t digit = digit_of(c);
    if (digit == k_no_digit) return std::nullopt;
    bits = (bits << 5 | digit) & 0xffff;
    have += 5;
    if (have < 8) continue;
    have -= 8;
    out.push_back(static_cast<char>(bits >> have & 0xff));
  }
  const bool whole = have < 5 && (bits & ((1U << have) - 1)) == 0;
  if (!whole) return std::nullopt;
  return out;
}

}  // namespace mailotp::mail
