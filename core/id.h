// Ids of challenges, messages and requests: UUIDv7 (RFC 9562 section 5.7), so that they sort by the time they
// were made and new rows land at the right edge of an index.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "core/random.h"
#include "core/result.h"
#include "core/time.h"

namespace mailotp::core {

struct Id {
  std::array<std::uint8_t, 16> bytes{};
  auto operator<=>(const Id&) const = default;
  [[nodiscard]] bool is_nil() const { return *this == Id{}; }
};

// 36 lower-case characters: "0190b5a0-7c1e-7e3a-9f00-0123456789ab".
[[nodiscard]] std::string to_string(const Id& id);
// Takes upper and lower case; anything that is not a UUID of 36 characters is Errc::malformed.
[[nodiscard]] Result<Id> parse_id(std::string_view text);
// The millisecond in which the id was made.
[[nodiscard]] WallTime time_of(const Id& id);

// Makes ids that strictly increase, also within one millisecond and when the clock steps back (RFC 9562
// section 6.2, method 2: the random part is incremented). One owner, one thread.
class IdSource {
 public:
  explicit IdSource(RandomSource& random) : random_(random) {}
  [[nodiscard]] Id next(WallTime now);

 private:
  RandomSource& random_;
  Id last_{};
};

}  // namespace mailotp::core

template <>
struct std::hash<mailotp::core::Id> {
  // The last eight bytes of a UUIDv7 are random.
  std::size_t operator()(const mailotp::core::Id& id) const noexcept {
    std::size_t h = 0;
    for (std::size_t i = 8; i < 16; ++i)
      h = h << 8 | id.bytes[i];
    return h;
  }
};
