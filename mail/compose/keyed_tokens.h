// The BounceTokens port by HMAC-SHA256, cut to 80 bits.
//
//   "r" base32(recipient's number, 1 to 8 bytes, the shortest form ‖ epoch, 2 bytes ‖ MAC)
//   "m" base32(message id, 16 bytes ‖ MAC)
//
// The MAC of a recipient's token also covers the key of the address, which is not in it. Every token has one
// spelling but for the case of its letters.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

#include "core/result.h"
#include "core/secret.h"
#include "core/tokens.h"

namespace mailotp::mail {

// The longest of each sort, the first letter included.
inline constexpr std::size_t k_recipient_token = 33;
inline constexpr std::size_t k_message_token = 43;

class KeyedTokens final : public core::BounceTokens {
 public:
  // `keys`: 32 bytes each, from store::KeyRing::token_keys(). The first one makes, all of them confirm.
  // Errc::invalid: none, or of another size; Errc::internal.
  [[nodiscard]] static core::Result<KeyedTokens> create(const std::vector<core::Secret>& keys);
  KeyedTokens(KeyedTokens&&) noexcept;
  KeyedTokens& operator=(KeyedTokens&&) noexcept;
  ~KeyedTokens() override;

  [[nodiscard]] std::string recipient(std::int64_t recipient, std::string_view key,
                                      core::WallTime at) const override;
  [[nodiscard]] std::string message(const core::Id& id) const override;
  [[nodiscard]] std::optional<core::Id> read_message(std::string_view token) const override;
  [[nodiscard]] std::optional<core::RecipientClaim> read_recipient(std::string_view token,
                                                                   core::WallTime at) const override;
  [[nodiscard]] bool confirms(const core::RecipientClaim& claim, std::string_view key) const override;

 private:
  struct Keyed;
  explicit KeyedTokens(std::vector<Keyed> keys);
  [[nodiscard]] bool is_of_any(std::string_view text, std::string_view mac) const;

  std::vector<Keyed> keys_;
};

}  // namespace mailotp::mail
