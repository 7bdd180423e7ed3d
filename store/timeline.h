// The timeline: everything that happened to a recipient, a challenge or a message, read from the log of
// events, and the refusals that are noted for it.
#pragma once

#include "core/store.h"
#include "store/statements.h"
#include "store/transaction.h"

namespace mailotp::store {

[[nodiscard]] core::Result<core::Answer> note_refusal(Transaction& tx, const core::NoteRefusal& command);

// Whose timeline.
struct TimelineOf {
  std::optional<std::int64_t> recipient;
  std::optional<core::Id> subject;  // a challenge, or a message that has none
  std::optional<core::Id> message;  // without what happened to other messages of the challenge
};
// Those after `after`, a seq; at most `limit`.
[[nodiscard]] core::Result<core::PageOf<core::TimelineItem>> read_timeline(
    Prepared<ReaderSql, k_reader_statements>& sql, const TimelineOf& of, std::int64_t after, int limit);

}  // namespace mailotp::store
