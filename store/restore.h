// The first start on a snapshot. What waited when it was taken may have been sent, and its codes been used,
// by the daemon that went on; nobody knows. So nothing of it is done by itself.
#pragma once

#include <optional>

#include "store/transaction.h"

namespace mailotp::store {

// Cancels every open challenge, which ends what was unsent of its mails; holds every other unsent message;
// and turns the snapshot into a database in use. Absent: it is one already. For the transaction of recover(),
// when no message is in `sending` any more.
[[nodiscard]] core::Result<std::optional<core::Restored>> settle_restored(Transaction& tx,
                                                                          core::WallTime now);

}  // namespace mailotp::store
