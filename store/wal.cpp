#include "store/wal.h"

#include "core/crash_point.h"

namespace mailotp::store {

using core::Result;

namespace {

constexpr int k_bound = 4096;                 // pages: 8 MiB, 16 of a database of before
constexpr int k_bound_of_steps = 512;         // some milliseconds
constexpr std::int64_t k_empty_after = 8192;  // pages

}  // namespace

Wal::Wal(sqlite3* db) : db_(db), log_(std::make_unique<Log>()) {
  // Returns the hook that was there before: none.
  (void)sqlite3_wal_hook(db_, committed, log_.get());
}

int Wal::committed(void* log, sqlite3* /*db*/, const char* /*name*/, int pages) noexcept {
  auto* self = static_cast<Log*>(log);
  self->pages = pages;
  ++self->commits;
  return SQLITE_OK;
}

Result<> Wal::checkpoint(int mode) {
  int in_log = 0;
  int moved = 0;
  MAILOTP_CRASH_POINT("checkpoint_next");
  const int code = sqlite3_wal_checkpoint_v2(db_, nullptr, mode, &in_log, &moved);
  MAILOTP_CRASH_POINT("checkpoint_done");
  // A reader is in the way: what could be moved has been.
  if (code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY) return {};
  return tl::unexpected(sqlite_error(db_, code, "checkpoint"));
}

Result<> Wal::rest() {
  if (log_->commits == rested_) return {};
  rested_ = log_->commits;
  moved_ += log_->pages;
  if (moved_ < k_empty_after) return checkpoint(SQLITE_CHECKPOINT_PASSIVE);
  return empty();
}

Result<> Wal::bound(After after) {
  // Fewer pages than before: the log has started anew.
  if (log_->pages < seen_) left_at_ = 0;
  seen_ = log_->pages;
  const int pages = seen_ - left_at_;
  if (pages < (after == After::step_alone ? k_bound_of_steps : k_bound)) return {};
  left_at_ = seen_;
  moved_ += pages;
  return checkpoint(SQLITE_CHECKPOINT_PASSIVE);
}

Result<> Wal::empty() {
  moved_ = 0;
  // This mode waits for readers, and a commit would wait with it. Setting a time-out cannot fail on an open
  // database.
  (void)sqlite3_busy_timeout(db_, 0);
  auto emptied = checkpoint(SQLITE_CHECKPOINT_TRUNCATE);
  (void)sqlite3_busy_timeout(db_, k_busy_timeout_ms);
  return emptied;
}

}  // namespace mailotp::store
