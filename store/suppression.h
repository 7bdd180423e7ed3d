// Addresses that are left alone, and what is known of a recipient. One app's evidence counts for that app's
// mail alone; an operator's suppression (app empty) for all.
#pragma once

#include <string>
#include <vector>

#include "store/transaction.h"

namespace mailotp::store {

// ---- Before a send

// Whether a mail of `app` may go to the recipient of that key now. Decides only.
struct Gate {
  std::optional<core::Refusal> refusal;
  std::vector<SuppressionRecord> probed;  // it may go, as the one mail of the day
};
[[nodiscard]] core::Result<Gate> gate(Transaction& tx, const core::Address& address, const std::string& app,
                                      core::SuppressedUse use, core::WallTime at);
// The mail has been queued.
[[nodiscard]] core::Result<> note_probe(Transaction& tx, const Gate& gate, const core::Id& message,
                                        core::WallTime at);

// ---- What is learned

// The message's recipient is dead to its app: longer each time a newer mail shows it. Its unsent mails end.
[[nodiscard]] core::Result<> suppress(Transaction& tx, const MessageRecord& message,
                                      const core::Verdict& verdict, core::BounceClass bounce_class,
                                      core::BounceSource source, const Cause& cause);
// A proof of life: a right code, or a report of success.
[[nodiscard]] core::Result<> note_proof(Transaction& tx, std::int64_t recipient, const std::string& app,
                                        const Cause& cause);
[[nodiscard]] core::Result<> note_verdict(Transaction& tx, const MessageRecord& message,
                                          const core::Verdict& verdict, core::VerdictWeight weight,
                                          const Cause& cause);
// Time has passed: a probe that was relayed and has not bounced for ten minutes heals. How many were looked
// at, `limit` at most.
[[nodiscard]] core::Result<std::uint64_t> check_probes(Transaction& tx, const Cause& cause, int limit);

// ---- The operator's

[[nodiscard]] core::Result<core::Answer> put_suppression(Transaction& tx,
                                                         const core::PutSuppression& command);
[[nodiscard]] core::Result<core::Answer> drop_suppression(Transaction& tx,
                                                          const core::DropSuppression& command);

}  // namespace mailotp::store
