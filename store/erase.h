// Erasure of an address: see core::Erase.
#pragma once

#include "store/transaction.h"

namespace mailotp::store {

[[nodiscard]] core::Result<core::Answer> erase(Transaction& tx, const core::Erase& command);

}  // namespace mailotp::store
