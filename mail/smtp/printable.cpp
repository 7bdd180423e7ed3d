#include "mail/smtp/printable.h"

namespace mailotp::mail {

std::string printable(std::string_view bytes, std::size_t most) {
  static constexpr char k_hex[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte >= 0x20 && byte <= 0x7e;
    if (out.size() + (plain ? 1 : 4) > most) break;
    if (plain) {
      out += c;
    } else {
      out += "\\x";
      out += k_hex[byte >> 4];
      out += k_hex[byte & 0xf];
    }
  }
  return out;
}

}  // namespace mailotp::mail
