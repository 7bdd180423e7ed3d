// The commands on messages: facts, time, claims.
#pragma once

#include "store/transaction.h"

namespace mailotp::store {

// Queues a templated mail that is no code.
[[nodiscard]] core::Result<core::Answer> create(Transaction& tx, const core::CreateMessage& command);
// A fact of an attempt that is not in force changes nothing.
[[nodiscard]] core::Result<> settle(Transaction& tx, const core::SettleFact& command);
[[nodiscard]] core::Result<> settle(Transaction& tx, const core::SettleLost& command);
// At most `limit` messages that are due; how many there were.
[[nodiscard]] core::Result<std::uint64_t> sweep_messages(Transaction& tx, const Cause& cause, int limit);
[[nodiscard]] core::Result<> wake_for_relay(Transaction& tx, const core::WakeForRelay& command);

struct Claimed {
  std::vector<core::Job> jobs;
  std::optional<core::WallTime> limited_until;  // a relay's rate or quota is used up until then
  bool again = false;                           // it stopped early: the same call would go on
  bool none_left = false;                       // no message is queued any more, for sure
};
// Takes queued messages in the order of their deadlines, as many as the relays have places. One whose body
// does not open is held, so that it stops nobody else; one whose time is over expires; one that no relay may
// take now is passed over. A few hundred rows in one call.
[[nodiscard]] core::Result<Claimed> claim(Transaction& tx, const core::ClaimBudget& budget,
                                          core::WallTime now);

// Settles every message found in `sending`; counts them.
[[nodiscard]] core::Result<core::Recovered> settle_orphans(Transaction& tx, core::WallTime now);

}  // namespace mailotp::store
