// The brake of core/brake.h, counted in the transaction of the send or the check. A device that has given a
// right code is not braked: whoever is behind the flood does not have one.
#pragma once

#include <optional>
#include <string>

#include "store/transaction.h"

namespace mailotp::store {

// Counts of the last run. Once, at the opening.
[[nodiscard]] core::Result<> load_brakes(Writer& writer);

// RefusalKind::rate_limited, limit "brake", or nothing. Tells the operator when it begins.
[[nodiscard]] core::Result<std::optional<core::Refusal>> refuse_braked(Transaction& tx,
                                                                       const std::string& app,
                                                                       const std::string& device,
                                                                       const Cause& cause);
[[nodiscard]] core::Result<> count_sent_code(Transaction& tx, const std::string& app, core::WallTime at);
[[nodiscard]] core::Result<> count_right_code(Transaction& tx, const std::string& app, core::WallTime at);
// Tells the operator of brakes that hold no more.
[[nodiscard]] core::Result<> look_at_brakes(Transaction& tx, const Cause& cause);

}  // namespace mailotp::store
