// The commands on challenges. Each decides first and writes last: what it refuses it has not written.
#pragma once

#include "store/transaction.h"

namespace mailotp::store {

[[nodiscard]] core::Result<core::Answer> create(Transaction& tx, const core::CreateChallenge& command);
[[nodiscard]] core::Result<core::Answer> send(Transaction& tx, const core::SendChallenge& command);
[[nodiscard]] core::Result<core::Answer> check(Transaction& tx, const core::CheckCode& command);
[[nodiscard]] core::Result<core::Answer> cancel(Transaction& tx, const core::CancelChallenge& command);

// At most `limit` challenges whose time is up; how many there were.
[[nodiscard]] core::Result<std::uint64_t> expire_challenges(Transaction& tx, const Cause& cause, int limit);
// At most `limit` open ones, with `detail` in their events; how many.
[[nodiscard]] core::Result<std::uint64_t> cancel_challenges(Transaction& tx, const Cause& cause, int limit,
                                                            std::string_view detail);

}  // namespace mailotp::store
