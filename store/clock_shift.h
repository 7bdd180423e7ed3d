// The wall clock was set: times that are still to come move with it.
#pragma once

#include <optional>

#include "store/transaction.h"

namespace mailotp::store {

// What has been (created_at, events, verdicts) keeps the time that the clock showed then.
[[nodiscard]] core::Result<> shift_clock(Transaction& tx, const core::ShiftClock& command);
// As the last shift left it; absent in a new database.
[[nodiscard]] core::Result<std::optional<core::ClockState>> saved_clock(Writer& writer);

// Once, at the opening: Writer::shifted.
[[nodiscard]] core::Result<> load_shifted(Writer& writer);

}  // namespace mailotp::store
