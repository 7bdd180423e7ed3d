// Retention: what has been over for long enough is removed, a bounded number of rows of each table in one
// call and no longer than it may take, each found through an index or at the end of its table. The counters
// of what is there now go down, the totals stay. With its last row a recipient is forgotten.
#pragma once

#include "store/transaction.h"

namespace mailotp::store {

[[nodiscard]] core::Result<core::Answer> purge(Transaction& tx, const core::Purge& command);

}  // namespace mailotp::store
