#include "ctl/text.h"

#include <array>
#include <cstdint>

#include <fmt/format.h>
#include <locale.h>
#include <wchar.h>

namespace mailotp::ctl {
namespace {

struct CodePoint {
  std::uint32_t value = 0;
  std::size_t bytes = 0;  // 0: not UTF-8
};

// Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
CodePoint decode(std::string_view text) {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return {};
  std::uint32_t value = first & (0xffU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return {};
    value = value << 6 | (byte(i) & 0x3fU);
  }
  constexpr std::array<std::uint32_t, 5> k_least{0, 0, 0x80, 0x800, 0x10000};
  if (value < k_least[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return {};
  return {value, length};
}

bool steers_terminal(std::uint32_t c) {
  const bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);
  const bool separator = c == 0x2028 || c == 0x2029;
  const bool direction = c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) ||
                         (c >= 0x2066 && c <= 0x2069);
  return control || separator || direction;
}

// As printable() says, but for the characters of `kept`.
std::string escaped(std::string_view text, std::string_view kept) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const CodePoint c = decode(text);
    const std::size_t bytes = c.bytes == 0 ? 1 : c.bytes;
    if (c.bytes == 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text.front()));
    } else if (!steers_terminal(c.value) || kept.find(text.front()) != std::string_view::npos) {
      out += text.substr(0, bytes);
    } else if (c.value < 0x100) {
      out += fmt::format("\\x{:02x}", c.value);
    } else {
      out += fmt::format("\\u{{{:04x}}}", c.value);
    }
    text.remove_prefix(bytes);
  }
  return out;
}

// What the C library knows of the widths of characters, whatever locale the user has.
class Widths {
 public:
  Widths() : locale_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", locale_t{})) {}
  ~Widths() {
    if (locale_ != locale_t{}) ::freelocale(locale_);
  }
  Widths(const Widths&) = delete;
  Widths& operator=(const Widths&) = delete;

  [[nodiscard]] std::size_t of(std::uint32_t c) const {
    if (c < 0x300 || locale_ == locale_t{}) return 1;
    const locale_t before = ::uselocale(locale_);
    const int width = ::wcwidth(static_cast<wchar_t>(c));
    (void)::uselocale(before);
    return width < 0 ? 1 : static_cast<std::size_t>(width);  // one that is not known yet
  }

 private:
  locale_t locale_;
};

const Widths& widths() {
  static const Widths k_widths;
  return k_widths;
}

// The first character of text that is not empty.
struct Glyph {
  std::size_t bytes;
  std::size_t columns;
};

Glyph first_glyph(std::string_view text) {
  const CodePoint c = decode(text);
  if (c.bytes == 0) return {1, 1};
  return {c.bytes, widths().of(c.value)};
}

}  // namespace

std::string printable(std::string_view text) {
  return escaped(text, "");
}

std::string printable_lines(std::string_view text) {
  return escaped(text, "\n\t");
}

std::size_t columns_of(std::string_view text) {
  std::size_t columns = 0;
  while (!text.empty()) {
    const Glyph glyph = first_glyph(text);
    columns += glyph.columns;
    text.remove_prefix(glyph.bytes);
  }
  return columns;
}

std::size_t fitting(std::string_view text, std::size_t width) {
  std::size_t end = 0;
  for (std::size_t columns = 0; end < text.size();) {
    const Glyph glyph = first_glyph(text.substr(end));
    columns += glyph.columns;
    if (columns > width) break;
    end += glyph.bytes;
  }
  return end;
}

std::string cut(std::string_view text, std::size_t width) {
  if (columns_of(text) <= width) return std::string(text);
  return std::string(text.substr(0, fitting(text, width - 1))) + "…";
}

std::string age(core::Seconds duration) {
  const std::int64_t s = duration.count();
  const auto pair = [](std::int64_t most, char unit, std::int64_t rest, char rest_unit) {
    return rest == 0 ? fmt::format("{}{}", most, unit) : fmt::format("{}{}{}{}", most, unit, rest, rest_unit);
  };
  if (s <= 0) return "0s";
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return pair(s / 60, 'm', s % 60, 's');
  if (s < 86'400) return pair(s / 3600, 'h', s % 3600 / 60, 'm');
  if (s < 100 * 86'400) return pair(s / 86'400, 'd', s % 86'400 / 3600, 'h');
  return fmt::format("{}d", s / 86'400);
}

}  // namespace mailotp::ctl
