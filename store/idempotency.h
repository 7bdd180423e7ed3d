// Repeats of a request: what its first one was told is kept for a day, in the commit of what it did, and is
// told again. Of key and request only keyed hashes are stored, the answer is sealed.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "store/transaction.h"

namespace mailotp::store {

// For at least so long a repeat is recognised. By the wall clock, whichever way it was set meanwhile.
inline constexpr core::Seconds k_kept_for{24 * 3600};

// KeptAnswer; or Refusal idempotency_mismatch when the key was used with another request; or nothing: the
// request is the first one of its key.
[[nodiscard]] core::Result<std::optional<core::Answer>> recall(Transaction& tx, const std::string& app,
                                                               const core::Once& once, core::WallTime at);
// `recipient`: the row of the address that the answer tells of, or none; with that one's erasure the answer
// goes too.
[[nodiscard]] core::Result<> keep(Transaction& tx, const std::string& app, const core::Once& once,
                                  core::WallTime at, std::optional<std::int64_t> recipient,
                                  const core::Answer& answer);

[[nodiscard]] core::Result<std::optional<std::int64_t>> recipient_of(Transaction& tx,
                                                                     const core::CreateChallenge& command);
[[nodiscard]] core::Result<std::optional<std::int64_t>> recipient_of(Transaction& tx,
                                                                     const core::CreateMessage& command);
[[nodiscard]] core::Result<std::optional<std::int64_t>> recipient_of(Transaction& tx,
                                                                     const core::SendChallenge& command);
[[nodiscard]] core::Result<std::optional<std::int64_t>> recipient_of(Transaction& tx,
                                                                     const core::CheckCode& command);
[[nodiscard]] core::Result<std::optional<std::int64_t>> recipient_of(Transaction& tx,
                                                                     const core::CancelChallenge& command);

// `run` does what `command` asks, unless it is a repeat. What is refused is not kept: it did nothing.
template <class Command, class Run>
[[nodiscard]] core::Result<core::Answer> run_once(Transaction& tx, const Command& command, Run run) {
  if (!command.once) return run();
  auto told = recall(tx, command.app, *command.once, command.at);
  if (!told) return tl::unexpected(told.error());
  if (*told) return **std::move(told);
  core::Result<core::Answer> answer = run();
  if (!answer || std::holds_alternative<core::Refusal>(*answer)) return answer;
  const auto recipient = recipient_of(tx, command);
  if (!recipient) return tl::unexpected(recipient.error());
  if (auto kept = keep(tx, command.app, *command.once, command.at, *recipient, *answer); !kept)
    return tl::unexpected(kept.error());
  return answer;
}

// A request that can no longer be carried out, but may have been: what it was told, else not_found.
[[nodiscard]] core::Result<core::Answer> recall(Transaction& tx, const core::Recall& command);

}  // namespace mailotp::store
