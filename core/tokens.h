// Keyed tokens in what leaves us, so that a bounce can be told from a forged one: nobody without the key can
// make one for another recipient or message. The port; mail/compose has the implementation. Immutable, so any
// thread may call it.
//
// Letters and digits of base32 (RFC 4648), lower case when made and read in any case: some MTAs change the
// case of a local part. At most 48 characters, the first a letter that says what it names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/id.h"
#include "core/time.h"

namespace mailotp::core {

inline constexpr Seconds k_token_epoch{10 * 86400};
inline constexpr std::size_t k_max_token = 48;

// What a token of a recipient says before it is confirmed.
struct RecipientClaim {
  std::int64_t recipient = 0;  // the store's number of it
  std::uint32_t epoch = 0;
  std::string mac;
};

class BounceTokens {
 public:
  virtual ~BounceTokens() = default;
  // For the return path. The same for ten days, so that greylisting sees the same triplet. `key` is
  // Address::key() of the recipient: the number alone may be given out again.
  [[nodiscard]] virtual std::string recipient(std::int64_t recipient, std::string_view key,
                                              WallTime at) const = 0;
  // For the Message-ID, the envelope id, k_token_header, and the return path where [mail] verp = message.
  [[nodiscard]] virtual std::string message(const Id& id) const = 0;

  // The message that a token names; none: it is not one of ours, under none of the keys. Takes the same time
  // for a right and a wrong one.
  [[nodiscard]] virtual std::optional<Id> read_message(std::string_view token) const = 0;
  // None: malformed, or not of this epoch or the last one.
  [[nodiscard]] virtual std::optional<RecipientClaim> read_recipient(std::string_view token,
                                                                     WallTime at) const = 0;
  [[nodiscard]] virtual bool confirms(const RecipientClaim& claim, std::string_view key) const = 0;
};

}  // namespace mailotp::core
