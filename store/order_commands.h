// What operators want of messages: see core::OrderMessage and core::FlushOutbox.
#pragma once

#include "store/transaction.h"

namespace mailotp::store {

[[nodiscard]] core::Result<core::Answer> order(Transaction& tx, const core::OrderMessage& command);
[[nodiscard]] core::Result<core::Answer> flush(Transaction& tx, const core::FlushOutbox& command);

}  // namespace mailotp::store
