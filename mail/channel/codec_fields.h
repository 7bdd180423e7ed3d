// The fields that the frames of both agents are made of. For the codecs only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "core/delivery.h"
#include "core/result.h"
#include "mail/channel/cbor.h"
#include "mail/channel/codec.h"

namespace mailotp::channel {

inline constexpr std::size_t k_max_name = 255;      // a relay, a host
inline constexpr std::size_t k_max_path = 4096;     // a file or a folder
inline constexpr std::size_t k_max_mailbox = 320;   // an envelope address
inline constexpr std::size_t k_max_secret = 16384;  // a password or a token
inline constexpr std::size_t k_max_status = 16;     // "5.123.123"
inline constexpr std::uint64_t k_max_millis = 366ULL * 86400 * 1000;
inline constexpr std::uint64_t k_any32 = std::numeric_limits<std::uint32_t>::max();

// ---- Writing

template <class Tag>
void put_head(CborWriter& out, Tag tag, std::size_t fields) {
  out.array(1 + fields);
  out.number(static_cast<std::uint64_t>(tag));
}

template <class Enum>
void put_enum(CborWriter& out, Enum value) {
  out.number(static_cast<std::uint64_t>(value));
}

inline void put_millis(CborWriter& out, core::Millis value) {
  out.number(static_cast<std::uint64_t>(std::clamp<std::int64_t>(value.count(), 0, k_max_millis)));
}

inline void put_count(CborWriter& out, int value) {
  out.number(static_cast<std::uint64_t>(std::max(value, 0)));
}

inline void put_words(CborWriter& out, std::string_view words, std::size_t max = k_max_text) {
  out.text(printable(words, max));
}

// Three fields.
inline void put_ready(CborWriter& out, const core::AgentReady& fact) {
  out.text(fact.version);
  out.number(static_cast<std::uint64_t>(std::max<std::int64_t>(fact.pid, 0)));
  put_enum(out, fact.confinement);
}

inline void put_length(std::string& frame) {
  const std::size_t size = frame.size() - k_length_bytes;
  for (std::size_t i = 0; i < k_length_bytes; ++i)
    frame[i] = static_cast<char>(size >> (8 * (k_length_bytes - 1 - i)));
}

// Length and frame; `write` appends the items.
template <class Write>
std::string frame_of(std::size_t room, Write write) {
  std::string frame;
  frame.reserve(room);
  frame.assign(k_length_bytes, '\0');
  CborWriter out(frame);
  write(out);
  put_length(frame);
  return frame;
}

// ---- Reading

template <class Enum>
Enum get_enum(CborReader& in, Enum last) {
  return static_cast<Enum>(in.number(static_cast<std::uint64_t>(last)));
}

inline core::Millis get_millis(CborReader& in) {
  return core::Millis{static_cast<std::int64_t>(in.number(k_max_millis))};
}

inline std::string get_text(CborReader& in, std::size_t max) {
  return std::string(in.text(max));
}

inline std::string get_bytes(CborReader& in, std::size_t max) {
  return std::string(in.bytes(max));
}

inline std::uint32_t get_any32(CborReader& in) {
  return static_cast<std::uint32_t>(in.number(k_any32));
}

// Empty, or digits and dots.
inline std::string get_status(CborReader& in) {
  std::string status = get_text(in, k_max_status);
  if (status.find_first_not_of("0123456789.") != std::string::npos) in.fail();
  return status;
}

inline core::AgentReady get_ready(CborReader& in) {
  core::AgentReady fact;
  fact.version = get_text(in, k_max_name);
  fact.pid = static_cast<std::int64_t>(in.number(std::numeric_limits<std::int32_t>::max()));
  fact.confinement = get_enum(in, core::Confinement::no_landlock);
  return fact;
}

// `get` takes the fields after the tag, `fields_of` says how many there are; a number that is no tag of the
// caller's is refused by `get`.
template <class Message, class Tag>
core::Result<Message> decode_frame(std::string_view frame, Message (*get)(CborReader&, Tag),
                                   std::size_t (*fields_of)(Tag), const char* what) {
  CborReader in(frame);
  const std::size_t items = in.array(16);
  const auto tag = static_cast<Tag>(in.number(255));
  if (items != 1 + fields_of(tag)) in.fail();
  Message message = get(in, tag);
  if (!in.at_end()) return core::fail(core::Errc::malformed, what);
  return message;
}

}  // namespace mailotp::channel
