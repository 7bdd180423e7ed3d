#include "mail/compose/utf8.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace mailotp::mail {

namespace {

unsigned byte_at(std::string_view text, std::size_t pos) {
  return static_cast<unsigned char>(text[pos]);
}

}  // namespace

char32_t next_code_point(std::string_view text, std::size_t& pos) {
  const std::size_t start = pos++;
  const unsigned first = byte_at(text, start);
  if (first < 0x80) return first;
  std::size_t more = 0;
  char32_t value = 0;
  char32_t least = 0;
  if (first >= 0xC2 && first <= 0xDF) {
    more = 1, value = first & 0x1F, least = 0x80;
  } else if (first >= 0xE0 && first <= 0xEF) {
    more = 2, value = first & 0x0F, least = 0x800;
  } else if (first >= 0xF0 && first <= 0xF4) {
    more = 3, value = first & 0x07, least = 0x10000;
  } else {
    return k_bad_utf8;
  }
  if (text.size() - start <= more) return k_bad_utf8;
  for (std::size_t i = 1; i <= more; ++i) {
    const unsigned next = byte_at(text, start + i);
    if ((next & 0xC0) != 0x80) return k_bad_utf8;
    value = value << 6 | (next & 0x3F);
  }
  if (value < least || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return k_bad_utf8;
  pos = start + 1 + more;
  return value;
}

// Mostly ASCII: that is passed eight bytes at a time.
bool valid_utf8(std::string_view text) {
  for (std::size_t pos = 0; pos < text.size();) {
    if (std::uint64_t eight = 0; text.size() - pos >= sizeof eight) {
      std::memcpy(&eight, text.data() + pos, sizeof eight);
      if ((eight & 0x8080'8080'8080'8080U) == 0) {
        pos += sizeof eight;
        continue;
      }
    }
    if (next_code_point(text, pos) == k_bad_utf8) return false;
  }
  return true;
}

std::size_t count_characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace mailotp::mail
