#include "store/sqlite_store.h"

#include <fmt/format.h>

#include "core/crash_point.h"
#include "store/challenge_commands.h"
#include "store/clock_shift.h"
#include "store/idempotency.h"
#include "store/lock.h"
#include "store/message_commands.h"
#include "store/migrations.h"
#include "store/purge.h"
#include "store/wal.h"

namespace mailotp::store {

using core::Committed;
using core::Errc;
using core::Error;
using core::Result;

namespace {

// After a failure the daemon has something to come back for.
constexpr core::Millis k_retry_after_failure{1000};

// cache_size: 32 MiB, so that the right edges of all trees and what is in flight stay in memory.
constexpr const char* k_settings =
    "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY; "
    "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 33554432; PRAGMA cache_size = -32768; "
    "PRAGMA trusted_schema = OFF;";

Result<> check_keys(Writer& writer) {
  std::vector<KeyId> unknown;
  {
    Rows rows = writer.sql[WriterSql::key_all].select();
    for (;;) {
      const auto more = rows.next();
      if (!more) return tl::unexpected(more.error());
      if (!*more) break;
      const auto id = static_cast<KeyId>(rows.integer(0));
      if (!writer.keys.has(id)) unknown.push_back(id);
    }
  }
  for (const KeyId id : unknown) {
    const auto in_challenge = writer.sql[WriterSql::key_of_open_challenge].select(id).next();
    if (!in_challenge) return tl::unexpected(in_challenge.error());
    const auto in_body = writer.sql[WriterSql::key_of_body].select(id).next();
    if (!in_body) return tl::unexpected(in_body.error());
    if (*in_challenge || *in_body)
      return core::fail(Errc::invalid, fmt::format("store: the database needs the key {}, which is not in {}",
                                                   format_key_id(id), writer.keys.source()));
    // Retired in good order: nothing that it sealed is needed. Kept answers may be left; they are found with
    // a key of the ring alone and go within a day, and a key that must go is worth more than a repeat of
    // theirs.
    if (auto done = writer.sql[WriterSql::key_forget].run(id); !done) return done;
  }
  return writer.sql[WriterSql::key_add].run(writer.keys.writing());
}

Result<> load_counters(Writer& writer) {
  Rows rows = writer.sql[WriterSql::counter_all].select();
  for (;;) {
    const auto more = rows.next();
    if (!more) return tl::unexpected(more.error());
    if (!*more) return {};
    if (const auto position = Counters::position(rows.text(0))) writer.totals[*position] = rows.integer(1);
  }
}

Result<core::Answer> done(Result<> result) {
  if (!result) return tl::unexpected(std::move(result.error()));
  return core::Done{};
}

struct Runner {
  Transaction& tx;

  Result<core::Answer> operator()(const core::CreateChallenge& c) const {
    return run_once(tx, c, [&] { return create(tx, c); });
  }
  Result<core::Answer> operator()(const core::CreateMessage& c) const {
    return run_once(tx, c, [&] { return create(tx, c); });
  }
  Result<core::Answer> operator()(const core::SendChallenge& c) const {
    return run_once(tx, c, [&] { return send(tx, c); });
  }
  Result<core::Answer> operator()(const core::CheckCode& c) const {
    return run_once(tx, c, [&] { return check(tx, c); });
  }
  Result<core::Answer> operator()(const core::CancelChallenge& c) const {
    return run_once(tx, c, [&] { return cancel(tx, c); });
  }
  Result<core::Answer> operator()(const core::Recall& c) const { return recall(tx, c); }
  Result<core::Answer> operator()(const core::SettleFact& c) const { return done(settle(tx, c)); }
  Result<core::Answer> operator()(const core::SettleLost& c) const { return done(settle(tx, c)); }
  Result<core::Answer> operator()(const core::Sweep& c) const {
    const Cause cause{c.at, {}};
    if (auto expired = expire_challenges(tx, cause, c.limit); !expired) return done(std::move(expired));
    return done(sweep_messages(tx, cause, c.limit));
  }
  Result<core::Answer> operator()(const core::Purge& c) const { return purge(tx, c); }
  Result<core::Answer> operator()(const core::WakeForRelay& c) const { return done(wake_for_relay(tx, c)); }
  Result<core::Answer> operator()(const core::SuspendRelay& c) const {
    return done(tx.sql(WriterSql::relay_suspend).run(c.relay, c.suspended ? 1 : 0));
  }
  Result<core::Answer> operator()(const core::ShiftClock& c) const { return done(shift_clock(tx, c)); }
};

}  // namespace

struct SqliteStore::State {
  StateLock lock;
  Writer writer;
  Wal wal;
  std::optional<Error> broken;  // nothing can be promised any more

  // Where a transaction failed.
  enum class Phase : std::uint8_t { begin, body, commit };
  // `body` as one transaction; an error of any phase leaves nothing behind.
  template <class Body>
  Result<> transact(const core::ClaimBudget& budget, std::vector<core::Change>& changes, Phase& phase,
                    Body&& body);
  Result<> roll_back();
  // The whole batch and the claims at once: the normal case.
  Result<> run_together(std::span<core::Command> batch, const core::ClaimBudget& budget, core::WallTime now,
                        Phase& phase, Committed& out);
  void run_apart(std::span<core::Command> batch, const core::ClaimBudget& budget, core::WallTime now,
                 Committed& out);
  static void fail_rest(std::span<core::Command> batch, core::WallTime now, const Error& error,
                        Committed& out);
  static Result<> hand_out(Transaction& tx, const core::ClaimBudget& budget, core::WallTime now,
                           Committed& out);
  static Result<> look_ahead(Transaction& tx, auto& out);
};

template <class Body>
Result<> SqliteStore::State::transact(const core::ClaimBudget& budget, std::vector<core::Change>& changes,
                                      Phase& phase, Body&& body) {
  phase = Phase::begin;
  if (broken) return tl::unexpected(*broken);
  if (auto begun = writer.sql[WriterSql::begin].run(); !begun) return begun;
  Transaction tx(writer, budget.relays);
  phase = Phase::body;
  Result<> result = body(tx);
  if (result) result = tx.write_counters();
  if (result) {
    phase = Phase::commit;
    MAILOTP_CRASH_POINT("commit_next");
    result = writer.sql[WriterSql::commit].run();
    MAILOTP_CRASH_POINT("commit_done");
    if (!result && result.error().code == Errc::io) broken = result.error();
  }
  if (!result) {
    if (auto undone = roll_back(); !undone) {
      phase = Phase::commit;
      return undone;
    }
    return result;
  }
  writer.totals.add(tx.counted());
  auto news = tx.take_changes();
  changes.insert(changes.end(), news.begin(), news.end());
  return {};
}

Result<> SqliteStore::State::roll_back() {
  // SQLite has done it already after some errors.
  if (!writer.db.in_transaction()) return {};
  auto undone = writer.sql[WriterSql::rollback].run();
  if (!undone && !broken) broken = undone.error();
  return undone;
}

Result<> SqliteStore::State::hand_out(Transaction& tx, const core::ClaimBudget& budget, core::WallTime now,
                                      Committed& out) {
  auto claimed = claim(tx, budget, now);
  if (!claimed) return tl::unexpected(claimed.error());
  out.jobs = std::move(claimed->jobs);
  out.claim_again = claimed->again;
  if (auto seen = look_ahead(tx, out); !seen) return seen;
  if (claimed->limited_until && out.more_queued)
    out.next_due = std::min(out.next_due.value_or(core::k_never), *claimed->limited_until);
  return {};
}

Result<> SqliteStore::State::look_ahead(Transaction& tx, auto& out) {
  const auto due = tx.next_due();
  if (!due) return tl::unexpected(due.error());
  const auto queued = tx.more_queued();
  if (!queued) return tl::unexpected(queued.error());
  out.next_due = *due;
  out.more_queued = *queued;
  return {};
}

Result<> SqliteStore::State::run_together(std::span<core::Command> batch, const core::ClaimBudget& budget,
                                          core::WallTime now, Phase& phase, Committed& out) {
  return transact(budget, out.changes, phase, [&](Transaction& tx) -> Result<> {
    for (const core::Command& command : batch) {
      auto answer = std::visit(Runner{tx}, command);
      if (!answer) return tl::unexpected(answer.error());
      out.outcomes.emplace_back(*std::move(answer));
    }
    return hand_out(tx, budget, now, out);
  });
}

// Something in the batch failed and took the rest with it: each command by itself, so that only the guilty
// one fails.
void SqliteStore::State::run_apart(std::span<core::Command> batch, const core::ClaimBudget& budget,
                                   core::WallTime now, Committed& out) {
  Phase phase = Phase::begin;
  for (const core::Command& command : batch) {
    core::Outcome outcome;
    const auto ran = transact(budget, out.changes, phase, [&](Transaction& tx) -> Result<> {
      outcome = std::visit(Runner{tx}, command);
      if (!outcome) return tl::unexpected(outcome.error());
      return {};
    });
    if (!ran) outcome = tl::unexpected(ran.error());
    out.outcomes.push_back(std::move(outcome));
    if (!ran && phase == Phase::begin) return fail_rest(batch, now, ran.error(), out);
  }
  const auto claimed = transact(budget, out.changes, phase,
                                [&](Transaction& tx) -> Result<> { return hand_out(tx, budget, now, out); });
  if (claimed) return;
  out.jobs.clear();
  out.claim_again = false;
  fail_rest(batch, now, claimed.error(), out);
}

// What has no outcome yet has this one, and nothing is handed out.
void SqliteStore::State::fail_rest(std::span<core::Command> batch, core::WallTime now, const Error& error,
                                   Committed& out) {
  while (out.outcomes.size() < batch.size())
    out.outcomes.emplace_back(tl::unexpected(error));
  out.error = error;
  out.next_due = now + k_retry_after_failure;
  out.more_queued = false;
}

SqliteStore::SqliteStore(std::unique_ptr<State> state) : state_(std::move(state)) {}

SqliteStore::~SqliteStore() {
  // Best effort: what stays in the log is read at the next start.
  if (!state_->broken) (void)state_->wal.empty();
}

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(StoreOptions options) {
  auto lock = StateLock::acquire(options.state_dir);
  if (!lock) return tl::unexpected(lock.error());
  auto db = Connection::open(options.state_dir + "/mailotpd.db", Connection::Access::read_write);
  if (!db) return tl::unexpected(db.error());
  if (auto migrated = migrate(*db); !migrated) return tl::unexpected(migrated.error());
  if (auto wal = db->exec("PRAGMA journal_mode = WAL"); !wal) return tl::unexpected(wal.error());
  if (auto set = db->exec(k_settings); !set) return tl::unexpected(set.error());
  auto sql = Prepared<WriterSql, k_writer_statements>::prepare(*db, k_writer_sql);
  if (!sql) return tl::unexpected(sql.error());
  sqlite3* raw = db->raw();
  auto state = std::unique_ptr<State>(
      new State{*std::move(lock),
                Writer{*std::move(db), *std::move(sql), std::move(options.keys), std::move(options.policy),
                       std::move(options.return_path), options.max_open_messages, options.composer,
                       options.random, Counters{}},
                Wal(raw), std::nullopt});
  // The last run may have ended in a failed sync: what the log says must be on the disk before anything is
  // answered.
  if (auto emptied = state->wal.empty(); !emptied) return tl::unexpected(emptied.error());
  if (auto keys = check_keys(state->writer); !keys) return tl::unexpected(keys.error());
  if (auto counters = load_counters(state->writer); !counters) return tl::unexpected(counters.error());
  return std::unique_ptr<SqliteStore>(new SqliteStore(std::move(state)));
}

Result<core::Recovered> SqliteStore::recover(core::WallTime now) {
  core::Recovered out;
  std::vector<core::Change> nobody_waits_yet;
  auto phase = State::Phase::begin;
  auto settled = state_->transact({}, nobody_waits_yet, phase, [&](Transaction& tx) -> Result<> {
    auto orphans = settle_orphans(tx, now);
    if (!orphans) return tl::unexpected(orphans.error());
    out = *std::move(orphans);
    Rows suspended = tx.sql(WriterSql::relay_suspended).select();
    for (;;) {
      const auto more = suspended.next();
      if (!more) return tl::unexpected(more.error());
      if (!*more) break;
      out.suspended.emplace_back(suspended.text(0));
    }
    return State::look_ahead(tx, out);
  });
  if (!settled) return tl::unexpected(settled.error());
  return out;
}

Committed SqliteStore::commit(std::span<core::Command> batch, const core::ClaimBudget& budget,
                              core::WallTime now) {
  Committed out;
  auto phase = State::Phase::begin;
  const auto together = state_->run_together(batch, budget, now, phase, out);
  if (together) {
    state_->wal.bound();
    return out;
  }
  out = {};
  if (phase == State::Phase::body) {
    state_->run_apart(batch, budget, now, out);
    return out;
  }
  State::fail_rest(batch, now, together.error(), out);
  return out;
}

Result<> SqliteStore::rest() {
  if (state_->broken) return tl::unexpected(*state_->broken);
  return state_->wal.rest();
}

}  // namespace mailotp::store
