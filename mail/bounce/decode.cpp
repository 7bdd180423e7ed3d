#include "mail/bounce/decode.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace mailotp::mail {
namespace {

// How far the end of an encoded word or of a tag is looked for: keeps the work linear.
constexpr std::size_t k_word_max = 1000;
constexpr std::size_t k_tag_max = 1000;

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  const char l = lower(c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (is_digit(c)) return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

void append_latin1(std::string_view bytes, std::string& out) {
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      out.push_back(c);
    } else {
      out.push_back(static_cast<char>(0xC0U | (byte >> 6U)));
      out.push_back(static_cast<char>(0x80U | (byte & 0x3FU)));
    }
  }
}

bool one_byte_charset(std::string_view charset) {
  return istarts_with(charset, "iso-8859-") || istarts_with(charset, "windows-125");
}

// The encoded word at the start of `text`; its length, or 0 when there is none.
std::size_t take_word(std::string_view text, std::string& out) {
  if (!text.starts_with("=?")) return 0;
  text = text.substr(0, k_word_max);
  const std::size_t charset_end = text.find('?', 2);
  if (charset_end == std::string_view::npos || charset_end + 2 >= text.size() || text[charset_end + 2] != '?')
    return 0;
  const char encoding = lower(text[charset_end + 1]);
  const std::size_t begin = charset_end + 3;
  const std::size_t end = text.find("?=", begin);
  if (end == std::string_view::npos || (encoding != 'q' && encoding != 'b')) return 0;
  std::string decoded;
  if (encoding == 'b') {
    decode_base64(text.substr(begin, end - begin), decoded);
  } else {
    std::string spaced(text.substr(begin, end - begin));
    for (char& c : spaced) {
      if (c == '_') c = ' ';
    }
    decode_quoted_printable(spaced, decoded);
  }
  if (one_byte_charset(text.substr(2, charset_end - 2))) {
    append_latin1(decoded, out);
  } else {
    out += decoded;
  }
  return end + 2;
}

struct Entity {
  std::string_view name;
  std::string_view text;
};
constexpr std::array k_entities{
    Entity{"&lt;", "<"},    Entity{"&gt;", ">"},   Entity{"&amp;", "&"},  Entity{"&nbsp;", " "},
    Entity{"&quot;", "\""}, Entity{"&#64;", "@"},  Entity{"&#39;", "'"},  Entity{"&#8203;", ""},
    Entity{"&apos;", "'"},  Entity{"&#x40;", "@"}, Entity{"&#160;", " "}, Entity{"&#8217;", "'"},
    Entity{"&rsquo;", "'"},
};

constexpr std::array<std::string_view, 14> k_breaking_tags{
    "br", "/p", "p", "/div", "div", "/tr", "/td", "/li", "/h1", "/h2", "/h3", "/table", "li", "/title"};

// Length of the tag at the start of `text`, or 0 when this "<" opens none (an address in angle brackets).
std::size_t tag_length(std::string_view text) {
  text = text.substr(0, k_tag_max);
  if (text.size() < 2 || (!is_alpha(text[1]) && text[1] != '/' && text[1] != '!' && text[1] != '?')) return 0;
  const std::size_t end = text.find('>');
  if (end == std::string_view::npos) return 0;
  const std::string_view inside = text.substr(1, end - 1);
  if (inside.find('@') != std::string_view::npos && inside.find_first_of(" =") == std::string_view::npos)
    return 0;
  return end + 1;
}

std::string_view tag_name(std::string_view tag) {
  std::size_t end = 1;
  while (end < tag.size() && (is_alnum(tag[end]) || (tag[end] == '/' && end == 1)))
    ++end;
  return tag.substr(1, end - 1);
}

}  // namespace

void decode_base64(std::string_view text, std::string& out) {
  std::uint32_t bits = 0;
  int have = 0;
  for (const char c : text) {
    const int digit = base64_digit(c);
    if (c == '=') break;
    if (digit < 0) continue;
    bits = (bits << 6U) | static_cast<std::uint32_t>(digit);
    have += 6;
    if (have >= 8) {
      have -= 8;
      out.push_back(static_cast<char>((bits >> static_cast<unsigned>(have)) & 0xFFU));
    }
  }
}

void decode_quoted_printable(std::string_view text, std::string& out) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '=') {
      out.push_back(text[i]);
      continue;
    }
    std::size_t end = i + 1;
    while (end < text.size() && (text[end] == ' ' || text[end] == '\t' || text[end] == '\r'))
      ++end;
    if (end >= text.size()) return;
    if (text[end] == '\n' || (end > i + 1 && text[end - 1] == '\r')) {  // a soft line break
      i = text[end] == '\n' ? end : end - 1;
      continue;
    }
    const int high = hex_digit(text[i + 1]);
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      out.push_back('=');
      continue;
    }
    out.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
}

std::string decode_words(std::string_view text) {
  std::string out;
  bool after_word = false;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = take_word(text.substr(i), out);
    if (length > 0) {
      i += length;
      after_word = true;
      continue;
    }
    // White space between two encoded words is no text (RFC 2047 section 6.2).
    std::size_t next = i;
    while (next < text.size() && is_blank(text[next]))
      ++next;
    if (after_word && next > i && text.substr(next).starts_with("=?")) {
      i = next;
      continue;
    }
    out.push_back(text[i++]);
    after_word = false;
  }
  return out;
}

void decode_html(std::string_view text, std::string& out) {
  std::string_view closing;  // of an element whose text nobody sees
  for (std::size_t i = 0; i < text.size();) {
    const std::string_view rest = text.substr(i);
    if (rest.front() == '<') {
      const std::size_t length = tag_length(rest);
      const std::string_view name = length > 0 ? tag_name(rest.substr(0, length)) : std::string_view{};
      if (iequals(name, "style") || iequals(name, "script"))
        closing = iequals(name, "style") ? "</style" : "</script";
      if (!closing.empty()) {
        const std::size_t end = ifind(text, closing, i);
        closing = {};
        if (end == std::string_view::npos) return;
        i = end + 2;  // into the end tag, whose rest is skipped as text of no meaning
        i = std::min(text.find('>', i), text.size() - 1) + 1;
        continue;
      }
      for (const std::string_view tag : k_breaking_tags) {
        if (!name.empty() && iequals(name, tag)) out.push_back('\n');
      }
      if (length > 0) {
        i += length;
        continue;
      }
    }
    if (rest.front() == '&') {
      bool replaced = false;
      for (const Entity& entity : k_entities) {
        if (!istarts_with(rest, entity.name)) continue;
        out += entity.text;
        i += entity.name.size();
        replaced = true;
        break;
      }
      if (replaced) continue;
    }
    out.push_back(text[i++]);
  }
}

std::string_view decoded_text(const MailPart& part, std::string& buffer) {
  if (part.encoding == TransferEncoding::none && part.type != PartType::html) return part.body;
  std::string plain;
  std::string& target = part.type == PartType::html ? plain : buffer;
  target.clear();
  std::string_view text = part.body;
  if (part.encoding == TransferEncoding::base64) {
    decode_base64(part.body, target);
    text = target;
  } else if (part.encoding == TransferEncoding::quoted_printable) {
    decode_quoted_printable(part.body, target);
    text = target;
  }
  if (part.type != PartType::html) return buffer;
  buffer.clear();
  decode_html(text, buffer);
  return buffer;
}

namespace {

// Length of the UTF-8 character at the start of `text` (RFC 3629), or 0.
std::size_t utf8_length(std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  const std::size_t length = first < 0x80                    ? 1
                             : first >= 0xC2 && first < 0xE0 ? 2
                             : first >= 0xE0 && first < 0xF0 ? 3
                             : first >= 0xF0 && first < 0xF5 ? 4
                                                             : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80U) return 0;
  }
  if (length == 3 && first == 0xE0 && static_cast<unsigned char>(text[1]) < 0xA0) return 0;
  if (length == 3 && first == 0xED && static_cast<unsigned char>(text[1]) >= 0xA0) return 0;
  if (length == 4 && first == 0xF0 && static_cast<unsigned char>(text[1]) < 0x90) return 0;
  if (length == 4 && first == 0xF4 && static_cast<unsigned char>(text[1]) >= 0x90) return 0;
  return length;
}

}  // namespace

std::string printable(std::string_view text, std::size_t limit) {
  std::string out;
  text = trim(text);
  bool blank = false;
  for (std::size_t i = 0; i < text.size();) {
    if (is_blank(text[i])) {
      blank = true;
      ++i;
      continue;
    }
    const std::size_t length = utf8_length(text.substr(i));
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool control = byte < 0x20 || byte == 0x7F ||
                         (byte == 0xC2 && length == 2 && static_cast<unsigned char>(text[i + 1]) < 0xA0);
    const std::string_view piece = length == 0 || control ? std::string_view("?") : text.substr(i, length);
    if (out.size() + piece.size() + (blank ? 1 : 0) > limit) break;
    if (blank && !out.empty()) out.push_back(' ');
    blank = false;
    out += piece;
    i += length == 0 ? 1 : length;
  }
  return out;
}

}  // namespace mailotp::mail
