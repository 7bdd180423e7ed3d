// The wall clock was set: times that are still to come move with it.
#pragma once

#include "store/transaction.h"

namespace mailotp::store {

[[nodiscard]] core::Result<> shift_clock(Transaction& tx, const core::ShiftClock& command);

}  // namespace mailotp::store
