// Retention: what has been over for long enough is removed, in small steps.
#pragma once

#include "store/transaction.h"

namespace mailotp::store {

[[nodiscard]] core::Result<core::Answer> purge(Transaction& tx, const core::Purge& command);

}  // namespace mailotp::store
