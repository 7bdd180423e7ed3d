// Lists of messages that do not end at a row which cannot be read: that one is held, or passed over until the
// next start where not even that can be written.
#pragma once

#include <limits>
#include <vector>

#include "store/transaction.h"

namespace mailotp::store {

// Messages of one state, in the order of due_at.
struct Places {
  core::MessageState state;
  core::WallTime after_due_at{core::Millis{-1}};
  std::int64_t after_n = 0;
  core::WallTime until = core::k_never;
  int limit = std::numeric_limits<int>::max();
};

// Queued ones, from a place on.
[[nodiscard]] core::Result<std::vector<MessageRecord>> claimable_messages(Transaction& tx,
                                                                          core::WallTime after_due_at,
                                                                          std::int64_t after_n, int limit);
[[nodiscard]] core::Result<std::vector<MessageRecord>> due_messages(Transaction& tx, core::MessageState state,
                                                                    core::WallTime until, int limit);
[[nodiscard]] core::Result<std::vector<MessageRecord>> sending_messages(Transaction& tx);
// Those that wait for any relay.
[[nodiscard]] core::Result<std::vector<MessageRecord>> messages_for_relay(Transaction& tx, int limit);

// From a place on, up to its last.
[[nodiscard]] core::Result<std::vector<MessageRecord>> deferred_messages(Transaction& tx,
                                                                         const core::FlushPlace& after,
                                                                         int limit);

// The row of one of a list as it is now: what an earlier one led to (the end of a common challenge) may have
// changed it.
[[nodiscard]] core::Result<MessageRecord> again(Transaction& tx, const MessageRecord& m);

// A step on one of a list has failed and takes the transaction with it: the next try does without a message
// whose pages are at fault. Gives the error back.
[[nodiscard]] core::Error pass_over(Transaction& tx, const MessageRecord& message, core::Error error);

// After a run that did not end cleanly, of the rows written last: every message that is open must be readable
// and have a body that opens, or it is held. Errc::corrupt when a page cannot be read.
[[nodiscard]] core::Result<> check_newest(Transaction& tx, core::WallTime now);

}  // namespace mailotp::store
