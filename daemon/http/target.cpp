#include "daemon/http/target.h"

#include <cstddef>
#include <cstdint>

namespace mailotp::daemon {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// RFC 3629: no overlong forms, no surrogates, nothing over U+10FFFF.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if (first == 0xe0 && byte(1) < 0xa0) return 0;
  if (first == 0xed && byte(1) > 0x9f) return 0;
  if (first == 0xf0 && byte(1) < 0x90) return 0;
  if (first == 0xf4 && byte(1) > 0x8f) return 0;
  return length;
}

bool is_plain_text(std::string_view text) {
  while (!text.empty()) {
    const auto first = static_cast<std::uint8_t>(text.front());
    const std::size_t length = utf8_length(text);
    if (length == 0 || first < 0x20 || first == 0x7f) return false;
    text.remove_prefix(length);
  }
  return true;
}

core::Result<std::string> decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_value(text[i + 2]) : -1;
    if (low < 0) return core::fail(core::Errc::malformed, "a percent escape in the target is broken");
    out.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  if (!is_plain_text(out)) {
    return core::fail(core::Errc::malformed, "the target holds control characters or is not UTF-8");
  }
  return out;
}

}  // namespace

core::Result<Target> parse_target(std::string_view text) {
  if (text.empty() || text.front() != '/') {
    return core::fail(core::Errc::malformed, "the target must be a path that begins with \"/\"");
  }
  for (const char c : text) {
    if (c == '#' || static_cast<unsigned char>(c) >= 0x80) {
      return core::fail(core::Errc::malformed, "the target holds a character that must be percent-encoded");
    }
  }
  const std::size_t mark = text.find('?');
  Target target;
  auto path = decode(text.substr(0, mark));
  if (!path) return tl::unexpected(std::move(path.error()));
  target.path = std::move(*path);
  for (std::string_view left = text.substr(1, mark == std::string_view::npos ? mark : mark - 1);;) {
    const std::size_t slash = left.find('/');
    auto segment = decode(left.substr(0, slash));
    if (!segment) return tl::unexpected(std::move(segment.error()));
    target.segments.push_back(std::move(*segment));
    if (slash == std::string_view::npos) break;
    left.remove_prefix(slash + 1);
  }
  if (mark == std::string_view::npos) return target;

  std::string_view rest = text.substr(mark + 1);
  target.raw_query = std::string(rest);
  while (!rest.empty()) {
    const std::size_t end = rest.find('&');
    const std::string_view pair = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    auto name = decode(pair.substr(0, equals));
    if (!name) return tl::unexpected(std::move(name.error()));
    auto value = decode(equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1));
    if (!value) return tl::unexpected(std::move(value.error()));
    target.query.emplace_back(std::move(*name), std::move(*value));
  }
  return target;
}

}  // namespace mailotp::daemon
