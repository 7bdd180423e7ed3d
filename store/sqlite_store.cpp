#include "store/sqlite_store.h"

#include <iterator>

#include <fmt/format.h>
#include <sys/stat.h>

#include "core/crash_point.h"
#include "store/bounce_commands.h"
#include "store/brake.h"
#include "store/challenge_commands.h"
#include "store/clock_shift.h"
#include "store/erase.h"
#include "store/file_watch.h"
#include "store/idempotency.h"
#include "store/key_rows.h"
#include "store/lock.h"
#include "store/mailbox_commands.h"
#include "store/message_commands.h"
#include "store/message_lists.h"
#include "store/migrations.h"
#include "store/order_commands.h"
#include "store/purge.h"
#include "store/reserve.h"
#include "store/restore.h"
#include "store/snapshot.h"
#include "store/start_files.h"
#include "store/statements.h"
#include "store/suppression.h"
#include "store/sweep.h"
#include "store/timeline.h"
#include "store/wal.h"

namespace mailotp::store {

using core::Committed;
using core::Errc;
using core::Error;
using core::Result;

namespace {

// After a failure the daemon has something to come back for.
constexpr core::Millis k_retry_after_failure{1000};

constexpr int k_rows_around = 64;  // bad ones that one commit goes around

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

// What makes new rows, which a later result needs room for. A repeat of what has been done needs none.
template <class Run>
Result<core::Answer> new_work(Transaction& tx, Run run) {
  const Intake& intake = tx.writer().intake;
  if (intake.closed) return tl::unexpected(*intake.closed);
  if (intake.low.empty()) return run();
  core::Refusal refusal;
  refusal.kind = core::RefusalKind::overloaded;
  refusal.detail = intake.low;
  return refusal;
}

bool is_new_work(const core::Command& command) {
  return std::holds_alternative<core::CreateChallenge>(command) ||
         std::holds_alternative<core::CreateMessage>(command) ||
         std::holds_alternative<core::SendChallenge>(command);
}

struct Runner {
  Transaction& tx;

  Result<core::Answer> operator()(const core::CreateChallenge& c) const {
    return run_once(tx, c, [&] { return new_work(tx, [&] { return create(tx, c); }); });
  }
  Result<core::Answer> operator()(const core::CreateMessage& c) const {
    return run_once(tx, c, [&] { return new_work(tx, [&] { return create(tx, c); }); });
  }
  Result<core::Answer> operator()(const core::SendChallenge& c) const {
    return run_once(tx, c, [&] { return new_work(tx, [&] { return send(tx, c); }); });
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
  Result<core::Answer> operator()(const core::Sweep& c) const { return done(sweep(tx, c)); }
  Result<core::Answer> operator()(const core::Purge& c) const { return purge(tx, c); }
  Result<core::Answer> operator()(const core::WakeForRelay& c) const { return done(wake_for_relay(tx, c)); }
  Result<core::Answer> operator()(const core::SuspendRelay& c) const {
    return done(tx.sql(WriterSql::relay_suspend).run(c.relay, c.suspended ? 1 : 0));
  }
  Result<core::Answer> operator()(const core::ShiftClock& c) const { return done(shift_clock(tx, c)); }
  Result<core::Answer> operator()(const core::OpenMailbox& c) const { return open_mailbox(tx, c); }
  Result<core::Answer> operator()(const core::RecordMail& c) const { return record_mail(tx, c); }
  Result<core::Answer> operator()(const core::RecordPoison& c) const { return record_poison(tx, c); }
  Result<core::Answer> operator()(const core::RecordMoved& c) const { return record_moved(tx, c); }
  Result<core::Answer> operator()(const core::ReportBounce& c) const { return report_bounce(tx, c); }
  Result<core::Answer> operator()(const core::PutSuppression& c) const { return put_suppression(tx, c); }
  Result<core::Answer> operator()(const core::DropSuppression& c) const { return drop_suppression(tx, c); }
  Result<core::Answer> operator()(const core::OrderMessage& c) const { return order(tx, c); }
  Result<core::Answer> operator()(const core::FlushOutbox& c) const { return flush(tx, c); }
  Result<core::Answer> operator()(const core::Erase& c) const { return erase(tx, c); }
  Result<core::Answer> operator()(const core::NoteRefusal& c) const { return note_refusal(tx, c); }
  Result<core::Answer> operator()(const core::TakeOver& c) const { return take_over(tx, c); }
};

Wal::After after_of(std::span<const core::Command> batch) {
  const bool alone = batch.size() == 1 && (std::holds_alternative<core::Sweep>(batch.front()) ||
                                           std::holds_alternative<core::Purge>(batch.front()));
  return alone ? Wal::After::step_alone : Wal::After::requests;
}

// `work`, and once more with the room of the reserve when the disk is full.
template <class Work>
Result<> within(const Reserve& reserve, Work&& work) {
  auto done = work();
  if (done || done.error().code != Errc::no_space) return done;
  reserve.give_up();
  return work();
}

Result<Connection> open_database(const std::string& path, const Reserve& reserve) {
  auto db = Connection::open(path, Connection::Access::read_write);
  if (!db) return db;
  if (auto kept = db->keep_log_on_close(); !kept) return tl::unexpected(kept.error());
  // Before anything is written: the layer under it counts on it (log_writes.h).
  if (auto synced = db->exec("PRAGMA synchronous = FULL"); !synced) return tl::unexpected(synced.error());
  if (auto migrated = within(reserve, [&] { return migrate(*db); }); !migrated)
    return tl::unexpected(migrated.error());
  if (auto wal = db->exec("PRAGMA journal_mode = WAL"); !wal) return tl::unexpected(wal.error());
  if (auto set = db->exec(k_writer_settings); !set) return tl::unexpected(set.error());
  return db;
}

// What the operator can do about it.
Error with_hint(Error error) {
  if (error.code == Errc::corrupt)
    error.what +=
        ". Keep a copy of the folder; then put a backup of mailotpd.db in its place and remove "
        "mailotpd.db-wal, "
        "mailotpd.db-shm and mailotpd.lock, or try what `sqlite3 mailotpd.db .recover` can save";
  if (error.code == Errc::unsupported)
    error.what += "; install that version again, or restore a backup that this one has made";
  return error;
}

std::string low_on_disk(std::int64_t left, std::int64_t wanted) {
  return fmt::format("only {} MiB of the disk are free, and {} are kept for what is under way", left >> 20,
                     wanted >> 20);
}

std::shared_ptr<const core::StoreRules> rules_of(const StoreOptions& options) {
  auto rules = std::make_shared<core::StoreRules>();
  rules->policy = options.policy;
  rules->return_path = options.return_path;
  rules->retention = options.retention;
  rules->max_open_messages = options.max_open_messages;
  rules->min_free_disk = options.min_free_disk;
  rules->verp = options.verp;
  rules->verdicts = options.verdicts;
  rules->foreign = options.foreign;
  rules->limits = options.limits;
  rules->brake = options.brake;
  // Owns nothing: it outlives the store.
  rules->composer = std::shared_ptr<const core::Composer>(std::shared_ptr<void>{}, &options.composer);
  return rules;
}

}  // namespace

struct SqliteStore::State {
  StateLock lock;
  Writer writer;
  Wal wal;
  Reserve reserve;
  FileWatch files;
  std::string state_dir;
  std::optional<Error> broken = {};  // nothing can be promised any more
  std::optional<Error> gone = {};    // what is written is written for nobody
  bool unchecked = false;            // the last run left it open, and recover() has not looked at it

  // Where a transaction failed.
  enum class Phase : std::uint8_t { begin, body, commit };
  // `body` as one transaction; an error of any phase leaves nothing behind.
  template <class Body>
  Result<> transact(const core::ClaimBudget& budget, core::WallTime now, Phase& phase, Committed& out,
                    Body&& body);
  // The same, again without each row that is found to be at fault.
  template <class Body>
  Result<> transact_around(const core::ClaimBudget& budget, core::WallTime now, Phase& phase, Committed& out,
                           Body&& body);
  Result<> roll_back();
  // The rest of the opening.
  Result<> start();
  // After an error: takes the store out of use as far as it says. True: the disk was full, the reserve has
  // been given up, and it is worth another try.
  bool heed(const Error& error);
  // The result of a checkpoint.
  Result<> heed(Result<> moved);
  // The whole batch and the claims at once: the normal case.
  Result<> run_together(std::span<core::Command> batch, const core::ClaimBudget& budget, core::WallTime now,
                        Phase& phase, Committed& out);
  void run_apart(std::span<core::Command> batch, const core::ClaimBudget& budget, core::WallTime now,
                 Committed& out);
  static void fail_rest(std::span<core::Command> batch, core::WallTime now, const Error& error,
                        Committed& out);
  static Result<> hand_out(Transaction& tx, const core::ClaimBudget& budget, core::WallTime now,
                           Committed& out);
  // `none_queued`: known already.
  static Result<> look_ahead(Transaction& tx, auto& out, bool none_queued = false);
};

template <class Body>
Result<> SqliteStore::State::transact(const core::ClaimBudget& budget, core::WallTime now, Phase& phase,
                                      Committed& out, Body&& body) {
  phase = Phase::begin;
  if (broken) return tl::unexpected(*broken);
  if (gone) return tl::unexpected(*gone);
  if (auto begun = writer.sql[WriterSql::begin].run(); !begun) {
    if (begun.error().code == Errc::io) broken = begun.error();
    return begun;
  }
  Transaction tx(writer, budget.relays, now);
  const bool waking = writer.waking;
  phase = Phase::body;
  Result<> result = body(tx);
  if (result) result = tx.write_counted();
  if (result) {
    phase = Phase::commit;
    MAILOTP_CRASH_POINT("commit_next");
    result = writer.sql[WriterSql::commit].run();
    MAILOTP_CRASH_POINT("commit_done");
  }
  if (!result) {
    writer.waking = waking;
    tx.put_back();
    // In the body too: a large transaction writes to the log before its end.
    if (result.error().code == Errc::io) broken = result.error();
    if (auto undone = roll_back(); !undone) {
      phase = Phase::commit;
      return undone;
    }
    return result;
  }
  tx.take_over();
  out.unreadable += tx.unreadable();
  auto news = tx.take_changes();
  out.changes.insert(out.changes.end(), news.begin(), news.end());
  auto bounces = tx.take_bounces();
  std::move(bounces.begin(), bounces.end(), std::back_inserter(out.bounces));
  auto relayed = tx.take_relayed();
  out.relayed.insert(out.relayed.end(), relayed.begin(), relayed.end());
  out.events = out.events || tx.has_appended();
  auto brakes = tx.take_brakes();
  std::move(brakes.begin(), brakes.end(), std::back_inserter(out.brakes));
  return {};
}

template <class Body>
Result<> SqliteStore::State::transact_around(const core::ClaimBudget& budget, core::WallTime now,
                                             Phase& phase, Committed& out, Body&& body) {
  for (int tries = 0;; ++tries) {
    const std::size_t before = writer.bad.size();
    auto done = transact(budget, now, phase, out, body);
    if (done || writer.bad.size() == before || tries == k_rows_around) return done;
  }
}

Result<> SqliteStore::State::roll_back() {
  // SQLite has done it already after some errors.
  if (!writer.db.in_transaction()) return {};
  auto undone = writer.sql[WriterSql::rollback].run();
  if (!undone && !broken) broken = undone.error();
  return undone;
}

bool SqliteStore::State::heed(const Error& error) {
  const bool full = error.code == Errc::no_space;
  if (!full && error.code != Errc::unavailable) return false;
  const bool first = !writer.intake.closed;
  writer.intake.closed = error;
  if (full && first) reserve.give_up();
  return full && first;
}

Result<> SqliteStore::State::heed(Result<> moved) {
  if (moved) return moved;
  if (moved.error().code == Errc::io) broken = moved.error();
  (void)heed(moved.error());  // the checkpoint comes again by itself
  return moved;
}

Result<> SqliteStore::State::hand_out(Transaction& tx, const core::ClaimBudget& budget, core::WallTime now,
                                      Committed& out) {
  if (const auto& closed = tx.writer().intake.closed) {
    // A relay must not be asked when its answer may find no room.
    out.error = closed;
    return look_ahead(tx, out);
  }
  auto claimed = claim(tx, budget, now);
  if (!claimed) return tl::unexpected(claimed.error());
  out.jobs = std::move(claimed->jobs);
  out.claim_again = claimed->again;
  if (auto seen = look_ahead(tx, out, claimed->none_left); !seen) return seen;
  if (claimed->limited_until && out.more_queued)
    out.next_due = std::min(out.next_due.value_or(core::k_never), *claimed->limited_until);
  return {};
}

Result<> SqliteStore::State::look_ahead(Transaction& tx, auto& out, bool none_queued) {
  const auto due = tx.next_due();
  if (!due) return tl::unexpected(due.error());
  const Result<bool> queued = none_queued ? Result<bool>(false) : tx.more_queued();
  if (!queued) return tl::unexpected(queued.error());
  out.next_due = *due;
  // A row that is passed over stays due: a pause after each sweep, however many commits there are in it.
  if (Writer& w = tx.writer(); *due && w.bad.size() > 0) {
    w.swept = std::min(w.swept, tx.now());  // the clock may have been set back
    out.next_due = std::max(**due, w.swept + k_retry_after_failure);
  }
  if (tx.writer().waking) out.next_due = tx.now();
  out.more_queued = *queued;
  return {};
}

Result<> SqliteStore::State::run_together(std::span<core::Command> batch, const core::ClaimBudget& budget,
                                          core::WallTime now, Phase& phase, Committed& out) {
  return transact(budget, now, phase, out, [&](Transaction& tx) -> Result<> {
    for (const core::Command& command : batch) {
      tx.begin_command();
      auto outcome = std::visit(Runner{tx}, command);
      // New work that a closed store does not take leaves nothing behind.
      const bool left_as_it_was = writer.intake.closed && is_new_work(command) && writer.db.in_transaction();
      if (!outcome && !left_as_it_was) return tl::unexpected(outcome.error());
      out.outcomes.emplace_back(std::move(outcome));
    }
    return hand_out(tx, budget, now, out);
  });
}

// Something in the batch failed and took the rest with it: each command by itself, so that only the guilty
// one fails.
void SqliteStore::State::run_apart(std::span<core::Command> batch, const core::ClaimBudget& budget,
                                   core::WallTime now, Committed& out) {
  Phase phase = Phase::begin;
  std::optional<Error> mailbox_failed;
  for (const core::Command& command : batch) {
    core::Outcome outcome;
    // A mail that is committed stands for all mails before it: none overtakes one that is to be tried again.
    if (mailbox_failed && core::is_of_mailbox(command)) {
      out.outcomes.emplace_back(tl::unexpected(*mailbox_failed));
      continue;
    }
    const auto ran = transact_around(budget, now, phase, out, [&](Transaction& tx) -> Result<> {
      outcome = std::visit(Runner{tx}, command);
      if (!outcome) return tl::unexpected(outcome.error());
      return {};
    });
    if (!ran) {
      outcome = tl::unexpected(ran.error());
      if (core::is_of_mailbox(command) && ran.error().code != Errc::corrupt) mailbox_failed = ran.error();
    }
    out.outcomes.push_back(std::move(outcome));
    if (!ran && phase == Phase::begin) return fail_rest(batch, now, ran.error(), out);
  }
  const auto claimed = transact_around(
      budget, now, phase, out, [&](Transaction& tx) -> Result<> { return hand_out(tx, budget, now, out); });
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
  State& s = *state_;
  // The next start has to look at what this one has not, or has found bad.
  if (s.broken || s.gone || s.unchecked) return;
  (void)vacuum_if_erased(s.writer);  // left to the next stop
  if (!s.wal.empty()) return;
  // With a reader in the way something is left in the log, and is read at the next start.
  struct stat log {};
  if (::stat((database_in(s.state_dir) + "-wal").c_str(), &log) != 0 || log.st_size != 0) return;
  s.lock.mark_closed();
  s.writer.db.remove_log_on_close();
}

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(StoreOptions options) {
  auto lock = StateLock::acquire(options.state_dir);
  if (!lock) return tl::unexpected(lock.error());
  const std::string path = database_in(options.state_dir);
  if (auto there = check_files(*lock, options.state_dir); !there) return tl::unexpected(there.error());
  remove_unfinished_snapshot(options.state_dir);
  const Reserve reserve(options.state_dir, options.reserve);
  auto db = open_database(path, reserve);
  if (!db) return tl::unexpected(with_hint(db.error()));
  auto sql = Prepared<WriterSql, k_writer_statements>::prepare(*db, k_writer_sql);
  if (!sql) return tl::unexpected(with_hint(sql.error()));
  sqlite3* raw = db->raw();
  auto state = std::unique_ptr<State>(
      new State{*std::move(lock),
                Writer{*std::move(db), *std::move(sql), std::move(options.keys), rules_of(options),
                       options.random, options.tokens, Counters{}, Intake{}},
                Wal(raw), reserve, FileWatch(path), options.state_dir});
  if (auto started = state->start(); !started) return tl::unexpected(with_hint(started.error()));
  return std::unique_ptr<SqliteStore>(new SqliteStore(std::move(state)));
}

Result<> SqliteStore::State::start() {
  // The last run may have ended in a failed sync: what the log says must be on the disk before anything is
  // answered.
  auto ready = within(reserve, [&] { return wal.empty(); });
  if (ready) ready = within(reserve, [&] { return check_keys(writer); });
  if (ready) ready = within(reserve, [&] { return load_budget_secret(writer); });
  if (ready) ready = load_counters(writer);
  if (ready) ready = load_shifted(writer);
  if (ready) ready = load_brakes(writer);
  unchecked = lock.was_left_open();
  // The log is there by now, and so is its place in the folder.
  files = FileWatch(database_in(state_dir));
  if (ready) ready = within(reserve, [&] { return lock.mark_open(); });
  if (!ready) return ready;
  if (auto reserved = reserve.make(); !reserved) writer.intake.closed = reserved.error();
  return {};
}

Result<std::optional<core::ClockState>> SqliteStore::saved_clock() {
  return store::saved_clock(state_->writer);
}

Result<core::Recovered> SqliteStore::recover(core::WallTime now) {
  core::Recovered out;
  Committed news;
  auto phase = State::Phase::begin;
  const auto settle = [&] {
    return state_->transact_around({}, now, phase, news, [&](Transaction& tx) -> Result<> {
      auto orphans = settle_orphans(tx, now);
      if (!orphans) return tl::unexpected(orphans.error());
      out = *std::move(orphans);
      out.limits_anew = tx.writer().limits_anew;
      auto restored = settle_restored(tx, now);
      if (!restored) return tl::unexpected(restored.error());
      out.restored = *restored;
      if (auto noted = note_writing_key(tx, now); !noted) return noted;
      if (state_->lock.was_left_open()) {
        if (auto checked = check_newest(tx, now); !checked) return checked;
      }
      Rows suspended = tx.sql(WriterSql::relay_suspended).select();
      for (;;) {
        const auto more = suspended.next();
        if (!more) return tl::unexpected(more.error());
        if (!*more) break;
        out.suspended.emplace_back(suspended.text(0));
      }
      return State::look_ahead(tx, out);
    });
  };
  auto settled = settle();
  if (!settled && state_->heed(settled.error())) settled = settle();
  state_->unchecked = !settled;
  if (!settled) return tl::unexpected(with_hint(settled.error()));
  out.unreadable = news.unreadable + state_->writer.bad.size();
  return out;
}

Committed SqliteStore::commit(std::span<core::Command> batch, const core::ClaimBudget& budget,
                              core::WallTime now) {
  Committed out;
  const std::size_t bad = state_->writer.bad.size();
  auto phase = State::Phase::begin;
  const auto together = state_->run_together(batch, budget, now, phase, out);
  if (together) {
    if (auto moved = state_->heed(state_->wal.bound(after_of(batch))); !moved && state_->broken)
      out.error = moved.error();
    return out;
  }
  const bool again = state_->heed(together.error());
  out = {};
  if (phase == State::Phase::body || again) {
    state_->run_apart(batch, budget, now, out);
    out.unreadable += state_->writer.bad.size() - bad;
    return out;
  }
  State::fail_rest(batch, now, together.error(), out);
  return out;
}

Result<> SqliteStore::rest() {
  if (state_->broken) return tl::unexpected(*state_->broken);
  if (state_->gone) return {};
  return state_->heed(state_->wal.rest());
}

core::StoreLook SqliteStore::look() {
  State& s = *state_;
  Intake& intake = s.writer.intake;
  s.gone.reset();
  if (auto same = s.files.look(); !same) s.gone = same.error();
  auto room = free_disk(s.state_dir);
  auto reserved = s.reserve.make();
  intake.closed.reset();
  if (!room) intake.closed = room.error();
  if (!reserved) intake.closed = reserved.error();
  if (s.gone) intake.closed = s.gone;
  if (s.broken) intake.closed = s.broken;
  intake.low.clear();
  const std::int64_t wanted = s.writer.rules->min_free_disk;
  if (room && *room < wanted) intake.low = low_on_disk(*room, wanted);
  return {intake.closed, intake.low};
}

}  // namespace mailotp::store
