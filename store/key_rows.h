// The keys that the database was written with, and what is kept under them.
#pragma once

#include <string>
#include <vector>

#include "store/transaction.h"

namespace mailotp::store {

// Once, at the opening. Errc::invalid when open challenges or unsent messages need a key that is not in the
// ring (both are named). Keys that nothing needs any more are forgotten.
[[nodiscard]] core::Result<> check_keys(Writer& writer);
// Writer::budget_mac, under a secret of the database's own: what is counted outlives the keys of the file.
// Makes one when there is none that can be opened; seals it anew when another key writes now.
[[nodiscard]] core::Result<> load_budget_secret(Writer& writer);
// All other keys have been replaced by the one that writes.
[[nodiscard]] core::Result<> note_writing_key(Transaction& tx, core::WallTime at);

[[nodiscard]] core::Result<core::Answer> take_over(Transaction& tx, const core::TakeOver& command);

}  // namespace mailotp::store
