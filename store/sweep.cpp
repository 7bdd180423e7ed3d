#include "store/sweep.h"

#include <algorithm>

#include "store/challenge_commands.h"
#include "store/message_commands.h"
#include "store/suppression.h"

namespace mailotp::store {

using core::Result;

namespace {

constexpr int k_portion = 8;  // of each kind: well under a millisecond

}  // namespace

Result<> sweep(Transaction& tx, const core::Sweep& command) {
  const Cause cause{command.at, {}};
  tx.writer().swept = tx.now();
  if (command.enough) (void)command.enough();
  for (int done = 0; done < command.limit; done += k_portion) {
    const int portion = std::min(k_portion, command.limit - done);
    const auto expired = expire_challenges(tx, cause, portion);
    if (!expired) return tl::unexpected(expired.error());
    const auto swept = sweep_messages(tx, cause, portion);
    if (!swept) return tl::unexpected(swept.error());
    const auto seen = check_probes(tx, cause, portion);
    if (!seen) return tl::unexpected(seen.error());
    if (tx.writer().waking) {
      auto woken = wake_for_relay(tx, core::WakeForRelay{.at = command.at, .limit = portion});
      if (!woken) return woken;
    }
    const bool more = std::cmp_equal(std::max({*expired, *swept, *seen}), portion) || tx.writer().waking;
    if (!more || (command.enough && command.enough())) return {};
  }
  return {};
}

}  // namespace mailotp::store
