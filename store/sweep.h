// What time brings: challenges and messages whose time is up, messages that are due again, probes that have
// shown what they can. In small portions of each, so that a million of one kind keeps no other waiting and
// the step can end when it has taken long enough; what is left is still due.
#pragma once

#include "store/transaction.h"

namespace mailotp::store {

[[nodiscard]] core::Result<> sweep(Transaction& tx, const core::Sweep& command);

}  // namespace mailotp::store
