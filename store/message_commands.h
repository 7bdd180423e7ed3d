// The commands on messages: facts, time, claims.
#pragma once

#include "store/transaction.h"

namespace mailotp::store {

// A fact of an attempt that is not in force changes nothing.
[[nodiscard]] core::Result<> settle(Transaction& tx, const core::SettleFact& command);
[[nodiscard]] core::Result<> settle(Transaction& tx, const core::SettleLost& command);
[[nodiscard]] core::Result<> sweep_messages(Transaction& tx, const Cause& cause, int limit);

// Takes queued messages in the order of their deadlines, at most budget.jobs. One whose body does not open is
// held, so that it stops nobody else; one whose time is over expires (a few hundred in one call: the rest is
// the sweep's).
[[nodiscard]] core::Result<std::vector<core::Job>> claim(Transaction& tx, const core::ClaimBudget& budget,
                                                         core::WallTime now);

// Settles every message found in `sending`; counts them.
[[nodiscard]] core::Result<core::Recovered> settle_orphans(Transaction& tx, core::WallTime now);

}  // namespace mailotp::store
