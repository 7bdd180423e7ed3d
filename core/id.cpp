#include "core/id.h"

namespace mailotp::core {

namespace {

constexpr std::string_view k_hex = "0123456789abcdef";

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr bool is_dash_position(std::size_t i) {
  return i == 8 || i == 13 || i == 18 || i == 23;
}

// Adds one to the 74 random bits, over the version and variant fields. False when they overflow.
bool increment_random(Id& id) {
  for (std::size_t i = 15; i > 8; --i) {
    if (++id.bytes[i] != 0) return true;
  }
  id.bytes[8] = static_cast<std::uint8_t>(0x80 | ((id.bytes[8] + 1) & 0x3f));
  if (id.bytes[8] != 0x80) return true;
  if (++id.bytes[7] != 0) return true;
  id.bytes[6] = static_cast<std::uint8_t>(0x70 | ((id.bytes[6] + 1) & 0x0f));
  return id.bytes[6] != 0x70;
}

void put_millisecond(Id& id, std::uint64_t ms) {
  for (std::size_t i = 0; i < 6; ++i)
    id.bytes[i] = static_cast<std::uint8_t>(ms >> (40 - 8 * i));
}

std::uint64_t millisecond(const Id& id) {
  std::uint64_t ms = 0;
  for (std::size_t i = 0; i < 6; ++i)
    ms = ms << 8 | id.bytes[i];
  return ms;
}

}  // namespace

std::string to_string(const Id& id) {
  std::string text;
  text.reserve(36);
  for (const std::uint8_t byte : id.bytes) {
    if (is_dash_position(text.size())) text += '-';
    text += k_hex[byte >> 4];
    text += k_hex[byte & 15];
  }
  return text;
}

Result<Id> parse_id(std::string_view text) {
  if (text.size() != 36) return fail(Errc::malformed, "not an id: a UUID has 36 characters");
  Id id;
  std::size_t nibble = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_dash_position(i)) {
      if (text[i] != '-')
        return fail(Errc::malformed, "not an id: a UUID has dashes after 8, 12, 16 and 20 digits");
      continue;
    }
    const int value = hex_value(text[i]);
    if (value < 0)
      return fail(Errc::malformed, "not an id: a UUID consists of hexadecimal digits and dashes");
    auto& byte = id.bytes[nibble / 2];
    byte = static_cast<std::uint8_t>(byte << 4 | value);
    ++nibble;
  }
  return id;
}

WallTime time_of(const Id& id) {
  return from_unix_ms(static_cast<std::int64_t>(millisecond(id)));
}

Id IdSource::next(WallTime now) {
  const auto ms = static_cast<std::uint64_t>(to_unix_ms(now)) & 0xffffffffffffULL;
  if (!last_.is_nil() && ms <= millisecond(last_)) {
    if (!increment_random(last_)) put_millisecond(last_, millisecond(last_) + 1);
    return last_;
  }
  random_.fill(last_.bytes);
  put_millisecond(last_, ms);
  last_.bytes[6] = static_cast<std::uint8_t>(0x70 | (last_.bytes[6] & 0x0f));
  last_.bytes[8] = static_cast<std::uint8_t>(0x80 | (last_.bytes[8] & 0x3f));
  return last_;
}

std::uint32_t uniform_below(RandomSource& random, std::uint32_t bound) {
  // The largest multiple of bound that fits: values at or above it would favour small results.
  const std::uint64_t limit = (std::uint64_t{1} << 32) / bound * bound;
  for (;;) {
    std::array<std::uint8_t, 4> bytes{};
    random.fill(bytes);
    const std::uint32_t value =
        static_cast<std::uint32_t>(bytes[0]) << 24 | static_cast<std::uint32_t>(bytes[1]) << 16 |
        static_cast<std::uint32_t>(bytes[2]) << 8 | static_cast<std::uint32_t>(bytes[3]);
    if (value < limit) return value % bound;
  }
}

}  // namespace mailotp::core
