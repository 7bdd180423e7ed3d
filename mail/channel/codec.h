// Orders and facts (core/delivery.h) as frames: four bytes of length, big-endian, then one CBOR array of a
// fixed shape whose first item names the kind. A frame of length 0 is a beat: the daemon sends one now and
// then, and the agent sends one back. Decoding is total and strict: every field's type, range and size is
// checked, nothing may follow, nothing throws. The far side is never trusted, least of all an agent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/delivery.h"
#include "core/result.h"
#include "core/secret.h"

namespace mailotp::channel {

// Both programs come from one build; one that survived an upgrade of the other is refused by this number.
inline constexpr std::uint64_t k_protocol = 1;

inline constexpr std::size_t k_length_bytes = 4;
inline constexpr std::size_t k_max_frame = 4 << 20;  // bytes after the length, towards an agent
inline constexpr std::size_t k_max_fact = 16 << 10;  // … and from one: facts are small
inline constexpr std::size_t k_max_text = 500;       // bytes of words for people (reply, reason, log line)
inline constexpr std::size_t k_max_relays = 256;

// Length and frame. An order may hold a password or a mail: it is wiped when it goes. Errc::invalid: larger
// than k_max_frame.
[[nodiscard]] core::Result<core::Secret> encode(const core::Order& order);
// Words for people are cut to k_max_text and made printable on the way, as printable() does.
[[nodiscard]] std::string encode(const core::Fact& fact);
[[nodiscard]] std::string encode_beat();

// `frame` is what follows the length. Errc::malformed.
[[nodiscard]] core::Result<core::Order> decode_order(std::string_view frame);
[[nodiscard]] core::Result<core::Fact> decode_fact(std::string_view frame);

// Printable ASCII stays, every other byte becomes \xNN; at most `max` bytes, never half an escape. What is
// printable already comes back as it was.
[[nodiscard]] std::string printable(std::string_view text, std::size_t max = k_max_text);

}  // namespace mailotp::channel
