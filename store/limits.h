// The limits of core/limits.h on the store's windows: what a send and a check must pass, in the transaction
// that they are counted in. What is asked first decides only; what is counted is counted after that.
#pragma once

#include <optional>
#include <string>

#include "core/limits.h"
#include "store/transaction.h"

namespace mailotp::store {

// Keyed hashes: a stolen database names nobody by them, and what is erased elsewhere stays counted here.
[[nodiscard]] core::Result<BudgetKeys> budget_keys(Transaction& tx, const std::string& app,
                                                   const std::string& purpose, const core::Address& recipient,
                                                   const core::Client& client);

// A mail that may be sent.
struct SendOf {
  const std::string& app;
  const BudgetKeys& keys;  // empty ones count nowhere
};
// RefusalKind::rate_limited with the limit that is full the longest, or nothing.
[[nodiscard]] core::Result<std::optional<core::Refusal>> refuse_send(Transaction& tx, const SendOf& send,
                                                                     core::WallTime at);
[[nodiscard]] core::Result<> count_send(Transaction& tx, const SendOf& send, core::WallTime at);

// What the limits leave of a challenge's sends. `now` is even.
struct SendRoom {
  int sends = 0;
  std::optional<core::WallTime> again_at;  // with none left: when there is one; even
};
[[nodiscard]] core::Result<SendRoom> room_of(UsageSource& source, const core::LimitRules& rules,
                                             const SendOf& send, core::WallTime now, int most);
// As the challenge is shown: the smaller of what it and the limits leave.
[[nodiscard]] core::Result<core::ChallengeView> view_within_limits(
    UsageSource& source, const core::LimitRules& rules, const ChallengeRecord& challenge,
    const std::optional<MessageRecord>& message, core::WallTime now, core::Millis shifted);

// Whose wrong guesses are counted together: those of a device that has given a right code for this recipient
// by themselves, those of all others together.
struct FailureBudget {
  std::string key;
  std::string device;  // absent: empty
};
[[nodiscard]] core::Result<FailureBudget> failure_budget(Transaction& tx, const std::string& app,
                                                         const std::string& purpose,
                                                         const core::Address& recipient,
                                                         const std::string& device, core::WallTime at);
[[nodiscard]] core::Result<std::optional<core::Refusal>> refuse_check(Transaction& tx, const std::string& app,
                                                                      const FailureBudget& budget,
                                                                      core::WallTime at);
[[nodiscard]] core::Result<> count_failure(Transaction& tx, const std::string& app,
                                           const FailureBudget& budget, core::WallTime at);

// The device gave a right code less than k_device_memory ago.
[[nodiscard]] core::Result<bool> is_known_device(Transaction& tx, const std::string& device,
                                                 core::WallTime at);
[[nodiscard]] core::Result<> remember_device(Transaction& tx, const std::string& device, core::WallTime at);

}  // namespace mailotp::store
