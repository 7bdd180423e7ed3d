#include "tests/fuzz/mime_invariants.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "mail/compose/mime.h"
#include "tests/fuzz/must.h"

namespace mailotp::fuzz {
namespace {

constexpr std::string_view k_boundary = "=_0190b5a0-7c1e-7e3a-9f00-0123456789ab";
constexpr std::size_t k_longest_line = 78;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  must(false, "an escape has two hexadecimal digits in upper case");
  return 0;
}

// RFC 2045 section 6.7; line ends become LF.
std::string from_quoted_printable(std::string_view encoded) {
  std::string out;
  for (std::size_t i = 0; i < encoded.size(); ++i) {
    if (encoded[i] == '\r') continue;
    if (encoded[i] != '=') {
      out += encoded[i];
      continue;
    }
    if (encoded.substr(i).starts_with("=\r\n")) {
      i += 2;
      continue;
    }
    must(i + 2 < encoded.size(), "an escape is whole");
    out += static_cast<char>(hex_value(encoded[i + 1]) * 16 + hex_value(encoded[i + 2]));
    i += 2;
  }
  return out;
}

std::string from_base64(std::string_view encoded) {
  constexpr std::string_view k_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  must(encoded.size() % 4 == 0, "base64 comes in fours");
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : encoded) {
    if (c == '=') break;
    const std::size_t value = k_digits.find(c);
    must(value != std::string_view::npos, "base64 has its own digits only");
    bits = bits << 6U | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> static_cast<unsigned>(count) & 0xFFU);
  }
  return out;
}

// RFC 2047: the value of a header that has one line or several.
std::string from_words(std::string_view value) {
  constexpr std::string_view k_start = "=?UTF-8?";
  std::string out;
  if (!value.starts_with(k_start)) {
    for (const char c : value)
      if (c != '\r' && c != '\n') out += c;
    return out;
  }
  while (!value.empty()) {
    const std::size_t end = std::min(value.find("\r\n "), value.size());
    const std::string_view word = value.substr(0, end);
    value.remove_prefix(std::min(end + 3, value.size()));
    must(word.size() <= 75 && word.starts_with(k_start) && word.ends_with("?="), "an encoded word is whole");
    const char kind = word[k_start.size()];
    std::string inner(word.substr(k_start.size() + 2, word.size() - k_start.size() - 4));
    if (kind == 'B') {
      out += from_base64(inner);
    } else {
      std::replace(inner.begin(), inner.end(), '_', ' ');
      out += from_quoted_printable(inner);
    }
  }
  return out;
}

void check_lines(std::string_view bytes) {
  must(bytes.ends_with("\r\n"), "a mail ends with a line end");
  while (!bytes.empty()) {
    const std::size_t end = bytes.find("\r\n");
    const std::string_view line = bytes.substr(0, end);
    bytes.remove_prefix(end + 2);
    must(line.size() <= k_longest_line, "no line is longer than 78");
    must(std::all_of(line.begin(), line.end(), [](char c) { return (c >= ' ' && c <= '~') || c == '\t'; }),
         "a mail is printable ASCII and CR LF");
  }
}

// "Name: value" with its folded lines, which must be there once.
std::string_view header(std::string_view headers, std::string_view name) {
  const std::string start = "\r\n" + std::string(name) + ": ";
  const std::size_t at = headers.find(start);
  must(at != std::string_view::npos && headers.find(start, at + 1) == std::string_view::npos,
       "a header is there once");
  std::size_t end = headers.find("\r\n", at + start.size());
  while (headers.substr(end).starts_with("\r\n ") || headers.substr(end).starts_with("\r\n\t"))
    end = headers.find("\r\n", end + 2);
  return headers.substr(at + start.size(), end - at - start.size());
}

std::vector<std::string_view> parts_of(std::string_view body) {
  const std::string line = "--" + std::string(k_boundary);
  std::vector<std::string_view> parts;
  for (;;) {
    must(body.starts_with(line), "a part begins with the boundary");
    body.remove_prefix(line.size());
    if (body == "--\r\n") return parts;
    const std::size_t end = body.find("\r\n" + line);
    must(end != std::string_view::npos, "a part ends with the boundary");
    const std::size_t start = body.find("\r\n\r\n");
    must(start < end, "a part has headers");
    parts.push_back(body.substr(start + 4, end - start - 4));
    body.remove_prefix(end + 2);
  }
}

}  // namespace

void check_mime(std::string_view subject, std::string_view text, std::string_view html) {
  const core::NamedAddress from{"Jörg \"J\" Müller", {"no-reply", "example.org"}};
  const core::Address to{"alice", "example.net"};
  const core::WallTime date = core::from_unix_ms(1'795'176'000'000);
  const std::array<mail::Header, 1> more{{{"Auto-Submitted", "auto-generated"}}};
  const auto written =
      mail::write_mime({date, from, to, subject, "<0190b5a0@otp.example.org>", k_boundary, more, text, html});
  must(written.has_value(), "a mail can be written");
  const std::string_view bytes = written->reveal();
  check_lines(bytes);
  const std::size_t end = bytes.find("\r\n\r\n");
  const std::string headers = "\r\n" + std::string(bytes.substr(0, end + 2));
  for (const std::string_view name : {"Date", "From", "To", "Message-ID", "Auto-Submitted", "Content-Type"})
    (void)header(headers, name);
  must(std::count(headers.begin(), headers.end(), '\n') <= 12 + static_cast<std::ptrdiff_t>(subject.size()),
       "a subject makes no headers");
  must(from_words(header(headers, "Subject")) == subject, "the subject is what was given");
  const std::vector<std::string_view> parts = parts_of(bytes.substr(end + 4));
  must(parts.size() == 2, "a mail has two parts");
  must(from_quoted_printable(parts[0]) == text && from_quoted_printable(parts[1]) == html,
       "the parts are what was given");
}

}  // namespace mailotp::fuzz
