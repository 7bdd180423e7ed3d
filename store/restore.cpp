#include "store/restore.h"

#include <array>

#include <fmt/format.h>

#include "core/snapshot.h"
#include "store/challenge_commands.h"
#include "store/message_lists.h"

namespace mailotp::store {

using core::MessageState;
using core::Result;

namespace {

constexpr int k_rows_at_once = 1000;
// Of what is over nothing is planned.
constexpr core::WallTime k_last_plan = core::k_never - core::Millis{1};

std::string reason() {
  Detail detail;
  return detail.add("reason", "the database is a restored backup").take();
}

Result<std::uint64_t> hold_all(Transaction& tx, MessageState state, core::WallTime now) {
  std::uint64_t held = 0;
  for (;;) {
    auto waiting = due_messages(tx, state, k_last_plan, k_rows_at_once);
    if (!waiting) return tl::unexpected(waiting.error());
    if (waiting->empty()) return held;
    for (MessageRecord& m : *waiting) {
      const auto stepped = tx.step(m, core::Hold{}, Cause{now, {}}, reason());
      if (!stepped) return tl::unexpected(pass_over(tx, m, stepped.error()));
      // It would be found again for ever.
      if (!*stepped)
        return core::fail(core::Errc::internal,
                          fmt::format("store: message {} cannot be held", core::to_string(m.id)));
      ++held;
    }
  }
}

}  // namespace

Result<std::optional<core::Restored>> settle_restored(Transaction& tx, core::WallTime now) {
  Connection& db = tx.writer().db;
  const auto id = db.number("PRAGMA application_id");
  if (!id) return tl::unexpected(id.error());
  if (*id != core::k_snapshot_id) return std::optional<core::Restored>{};
  core::Restored out;
  for (;;) {
    const auto canceled = cancel_challenges(tx, Cause{now, {}}, k_rows_at_once, reason());
    if (!canceled) return tl::unexpected(canceled.error());
    if (*canceled == 0) break;
    out.challenges += *canceled;
  }
  for (const MessageState state : {MessageState::queued, MessageState::deferred, MessageState::uncertain}) {
    const auto held = hold_all(tx, state, now);
    if (!held) return tl::unexpected(held.error());
    out.messages += *held;
  }
  const std::string in_use = fmt::format("PRAGMA application_id = {}", core::k_database_id);
  if (auto marked = db.exec(in_use.c_str()); !marked) return tl::unexpected(marked.error());
  return std::optional(out);
}

}  // namespace mailotp::store
