// What a challenge keeps for itself: the hash of its code, and sealed what a resend needs.
#pragma once

#include "core/secret.h"
#include "store/transaction.h"

namespace mailotp::store {

// Fills in the key, the hashes and the sealed values of a new challenge. The code is kept only where the same
// one is to be sent again.
[[nodiscard]] core::Result<> seal_secrets(Writer& writer, ChallengeRecord& challenge,
                                          const core::Secret& code, const core::Secret& variables,
                                          const core::Secret& binding);

struct ChallengeSecrets {
  core::Secret code;  // the kept one, or a new one where each mail has its own
  core::Secret variables;
  core::Secret binding;
};
[[nodiscard]] core::Result<ChallengeSecrets> open_secrets(Writer& writer, const ChallengeRecord& challenge);
// The old code is dead from here on.
[[nodiscard]] core::Result<> save_new_code(Transaction& tx, ChallengeRecord& challenge,
                                           const core::Secret& code);

// How a guess compares. With no challenge the same is computed for nothing, so that time tells nobody whether
// there is one.
enum class Comparison : std::uint8_t { matched, differed, binding_differed };
[[nodiscard]] core::Result<Comparison> compare(Writer& writer, const ChallengeRecord& challenge,
                                               const core::Secret& typed, const core::Secret& binding);
[[nodiscard]] core::Result<> compare_for_nothing(Writer& writer, const core::CheckCode& command);

// The two parts of a mailbox that was made by Address::mailbox().
[[nodiscard]] core::Address address_of(const std::string& mailbox);

}  // namespace mailotp::store
