#include "daemon/state/store_thread.h"

#include <algorithm>
#include <exception>
#include <iterator>
#include <utility>

#include <fmt/format.h>
#include <pthread.h>

#include "core/check.h"
#include "core/crash_point.h"
#include "daemon/state/clock.h"
#include "daemon/state/command_times.h"

namespace mailotp::daemon {

namespace {

using std::chrono::steady_clock;

constexpr std::size_t k_waiting_commands = 20'000;  // more than that is answered 503
constexpr std::size_t k_batch = 256;                // commands in one transaction
constexpr core::Millis k_idle_before_checkpoint{20};
// Fewer wait for a longer pause: the first commit after a checkpoint syncs a new header of the log as well,
// twice the time of any other.
constexpr int k_commits_worth_a_checkpoint = 50;
// What a relay has said is written with the next command if that comes so soon: one sync for both.
constexpr core::Millis k_company{1};
constexpr core::Millis k_pause_after_failure{1000};
constexpr core::Millis k_look_interval{1000};
constexpr core::Millis k_longest_in_mailbox{30'000};
// The clock may drift so far from what is kept for the next start.
constexpr core::Millis k_kept_offset{5000};
constexpr core::Millis k_long_pause{900};
constexpr core::Millis k_longest_wait{1000};  // so that a step of the wall clock is noticed
constexpr core::Millis k_purge_interval{10'000};
constexpr core::Millis k_purge_pause{100};  // between full steps while there is other work
// What a step of sweep or purge may take before its commit, which a command that comes meanwhile waits for;
// and with commands in the same commit. One that has fallen behind takes the time that it needs.
constexpr core::Millis k_step{4};
constexpr core::Millis k_step_in_company{1};
constexpr core::Millis k_behind{5000};
constexpr int k_step_rows = 200;  // of each table

#if defined(MAILOTP_CRASH_POINTS)
bool has_relayed(const std::vector<core::Command>& batch) {
  return std::ranges::any_of(batch, [](const core::Command& command) {
    const auto* settled = std::get_if<core::SettleFact>(&command);
    return settled != nullptr && std::holds_alternative<core::JobRelayed>(settled->fact);
  });
}
#endif

// Facts of jobs are true whatever the store says. What a mail said stands in the mail: it comes again, so one
// that met a bad row is not tried for ever.
bool must_be_written(const core::Command& command, const core::Error& error) {
  if (std::holds_alternative<core::SettleFact>(command) || std::holds_alternative<core::SettleLost>(command))
    return true;
  return core::is_of_mailbox(command) &&
         (error.code == core::Errc::no_space || error.code == core::Errc::io ||
          error.code == core::Errc::busy || error.code == core::Errc::unavailable);
}

// The time begins when it is asked first.
core::Enough enough_after(core::Millis most) {
  return [most, begun = std::optional<steady_clock::time_point>{}]() mutable {
    const auto now = steady_clock::now();
    if (!begun) begun = now;
    return now - *begun >= most;
  };
}

bool has_places(const core::ClaimBudget& budget) {
  return std::ranges::any_of(budget.relays, [](const core::RelayOffer& relay) {
    return relay.use != core::RelayUse::no && relay.jobs > 0;
  });
}

}  // namespace

StoreThread::StoreThread(uv_loop_t* loop, std::unique_ptr<core::Store> store, Observer& observer,
                         core::Log& log)
    : log_(log),
      observer_(observer),
      commands_(k_waiting_commands),
      deliveries_(k_waiting_commands),
      wakeup_(loop, [this] { deliver(); }),
      store_(std::move(store)) {}

StoreThread::~StoreThread() {
  commands_.close();
  if (thread_.joinable()) thread_.join();
}

void StoreThread::start(const core::Recovered& recovered) {
  boot_ = clock::boot_id();
  saved_offset_ = clock::offset();
  next_due_ = recovered.next_due;
  more_queued_ = recovered.more_queued;
  next_purge_ = steady_clock::now() + k_purge_interval;
  thread_ = std::thread([this] {
    try {
      run();
    } catch (const std::exception& e) {
      log_.write(core::LogLevel::error, fmt::format("event=store_thread_failed what=\"{}\"", e.what()));
      std::abort();
    }
  });
  (void)pthread_setname_np(thread_.native_handle(), "store");  // for people only
}

bool StoreThread::submit(core::Command command, Completion done) {
  Item item;
  item.command.push_back(std::move(command));
  item.done = std::move(done);
  MAILOTP_CRASH_POINT("accepted");
  return commands_.try_push(item);
}

void StoreThread::settle(core::Command command, std::string relay) {
  Item item;
  item.command.push_back(std::move(command));
  item.places = relay.empty() ? 0 : 1;
  item.relay = std::move(relay);
  commands_.push(std::move(item));
}

void StoreThread::record(core::Command command, Completion done) {
  Item item;
  item.command.push_back(std::move(command));
  item.done = std::move(done);
  commands_.push(std::move(item));
}

void StoreThread::offer(std::vector<core::RelayOffer> relays) {
  Item item;
  item.offer = std::move(relays);
  commands_.push(std::move(item));
}

void StoreThread::grant(std::string relay, int places) {
  Item item;
  item.places = places;
  item.relay = std::move(relay);
  commands_.push(std::move(item));
}

void StoreThread::revoke() {
  ++revoked_;
  Item item;
  item.revoke = true;
  commands_.push(std::move(item));
}

void StoreThread::stop(std::function<void()> stopped) {
  stopped_ = std::move(stopped);
  commands_.close();
}

steady_clock::time_point StoreThread::next_wake(bool idle) const {
  core::Millis wait = k_longest_wait;
  if (!idle && commits_to_move_ >= k_commits_worth_a_checkpoint) wait = k_idle_before_checkpoint;
  const auto now = steady_clock::now();
  if (next_due_ || !unsettled_.empty()) {
    const core::Millis pause = std::chrono::ceil<core::Millis>(pause_until_ - now);
    const core::Millis due = unsettled_.empty() ? *next_due_ - wall_now() : core::Millis{0};
    wait = std::min(wait, std::max({due, pause, core::Millis{0}}));
  }
  if (purge_left_ && !closed_) wait = core::Millis{0};
  return now + wait;
}

// The thread also wakes for other things.
bool StoreThread::checkpoint_is_due() const {
  return commits_to_move_ >= k_commits_worth_a_checkpoint ||
         steady_clock::now() - last_commit_ >= k_long_pause;
}

bool StoreThread::sweep_is_due() const {
  if (steady_clock::now() < pause_until_) return false;
  return !unsettled_.empty() || (next_due_ && wall_now() >= *next_due_);
}

void StoreThread::run() {
  while (!commands_.closed_and_empty()) {
    std::deque<Item> items =
        claim_again_ ? commands_.take(k_batch) : commands_.wait(k_batch, next_wake(rested_));
    await_company(items);
    const bool due = sweep_is_due();  // a sweep asks the store what is still due
    const bool purge = purge_is_due(items.empty());
    if (!items.empty() || due || claim_again_ || purge) {
      commit(items, due, purge);
    } else if (!rested_ && checkpoint_is_due()) {
      if (const auto rest = store_->rest(); !rest) {
        log_.write(core::LogLevel::warning,
                   fmt::format("event=checkpoint_failed what=\"{}\"", rest.error().what));
        tell(rest.error());
      }
      rested_ = true;
      commits_to_move_ = 0;
    }
    if (steady_clock::now() >= next_look_) look();
  }
  if (!unsettled_.empty()) {
    for (core::RelayOffer& relay : budget_.relays)
      relay.jobs = 0;  // nobody is there to take a job
    std::deque<Item> none;
    commit(none, true, false);
  }
  store_.reset();
  Delivery last;
  last.stopped = true;
  for (Unsettled& kept : unsettled_) {
    last.completions.push_back(std::move(kept.done));
    last.committed.outcomes.emplace_back(core::fail(core::Errc::unavailable, "the store has been closed"));
  }
  deliveries_.push(std::move(last));
  wakeup_.send();
}

// Facts alone hurry nobody, as long as no mail waits for the places that they bring.
void StoreThread::await_company(std::deque<Item>& items) {
  if (items.empty() || more_queued_ || claim_again_) return;
  const auto until = steady_clock::now() + k_company;
  std::size_t seen = 0;
  for (;;) {
    for (; seen < items.size(); ++seen) {
      const Item& item = items[seen];
      const bool fact = item.command.size() == 1 && !item.done &&
                        std::holds_alternative<core::SettleFact>(item.command.front());
      if (!fact) return;
    }
    if (items.size() >= k_batch) return;
    std::deque<Item> more = commands_.wait(k_batch - items.size(), until);
    if (more.empty()) return;
    std::move(more.begin(), more.end(), std::back_inserter(items));
  }
}

void StoreThread::look() {
  next_look_ = steady_clock::now() + k_look_interval;
  follow_clock();
  core::StoreLook seen = store_->look();
  if (seen.low != low_) {
    if (seen.low.empty()) log_.write(core::LogLevel::notice, "event=disk_has_room");
    if (low_.empty()) log_.write(core::LogLevel::error, fmt::format("event=disk_low what=\"{}\"", seen.low));
    low_ = std::move(seen.low);
  }
  if (seen.closed) tell(*seen.closed);
  // What waited for it goes on, and says that it does.
  if (closed_ && !seen.closed) {
    next_due_ = wall_now();
    pause_until_ = {};
  }
  closed_ = seen.closed.has_value();
  Delivery sign;
  sign.looked = true;
  deliveries_.push(std::move(sign));
  wakeup_.send();
}

// Within a second of a step every time that is still to come has moved with the clock: nothing expires early
// and nothing waits for an hour that comes twice.
void StoreThread::follow_clock() {
  if (const auto by = clock::step()) {
    if (!shift_clock(*by)) return;  // until then wall_now() goes on by the clock before
    log_.write(core::LogLevel::warning, fmt::format("event=clock_stepped by_seconds={}",
                                                    std::chrono::duration_cast<core::Seconds>(*by).count()));
    for (Unsettled& kept : unsettled_)
      move_times(kept.command, *by);
    shifted_by_ = *by;
    shifted_until_ = steady_clock::now() + k_longest_in_mailbox;
    next_due_ = wall_now();
  } else if (std::chrono::abs(clock::offset() - saved_offset_) > k_kept_offset) {
    (void)shift_clock(core::Millis{0});  // comes again
  }
}

bool StoreThread::shift_clock(core::Millis by) {
  const core::Millis offset = clock::offset() + by;
  std::vector<core::Command> batch;
  batch.emplace_back(core::ShiftClock{wall_now(), by, {boot_, offset}});
  Delivery delivery;
  delivery.completions.resize(1);
  delivery.committed = store_->commit(batch, {}, wall_now());
  const bool done = delivery.committed.outcomes.front().has_value();
  if (done) clock::set_offset(offset);
  if (done) saved_offset_ = offset;
  deliveries_.push(std::move(delivery));
  wakeup_.send();
  return done;
}

void StoreThread::tell(const core::Error& error) {
  Delivery delivery;
  delivery.committed.error = error;
  deliveries_.push(std::move(delivery));
  wakeup_.send();
}

// Not while the store is closed: what is removed would need room in its log first.
bool StoreThread::purge_is_due(bool idle) const {
  return !closed_ && ((idle && purge_left_) || steady_clock::now() >= next_purge_);
}

void StoreThread::note_purged(const core::Outcome& outcome) {
  const auto* purged = outcome ? std::get_if<core::Purged>(&*outcome) : nullptr;
  purge_left_ = purged != nullptr && purged->more;
  next_purge_ = steady_clock::now() + (purge_left_ ? k_purge_pause : k_purge_interval);
}

void StoreThread::commit(std::deque<Item>& items, bool sweep, bool purge) {
  Delivery delivery;
  std::vector<core::Command> batch;
  batch.reserve((sweep ? unsettled_.size() : 0) + items.size() + 2);
  if (sweep) {
    for (Unsettled& kept : std::exchange(unsettled_, {})) {
      batch.push_back(std::move(kept.command));
      delivery.completions.push_back(std::move(kept.done));
    }
  }
  const core::WallTime now = wall_now();
  const bool shifted = steady_clock::now() < shifted_until_;
  for (Item& item : items) {
    take_places(item);
    for (core::Command& command : item.command) {
      if (shifted) move_if_stamped_before(command, shifted_by_, now);
      // In their order: a mail that is committed stands for all mails before it, so that one of these which
      // is still to be written would be lost with the process.
      if (core::is_of_mailbox(command) &&
          std::ranges::any_of(unsettled_, core::is_of_mailbox, &Unsettled::command)) {
        unsettled_.push_back({std::move(command), std::move(item.done)});
        continue;
      }
      batch.push_back(std::move(command));
      delivery.completions.push_back(std::move(item.done));
    }
  }
  if (sweep) {
    const bool behind = next_due_ && now - *next_due_ > k_behind;
    const core::Millis most = items.empty() || behind ? k_step : k_step_in_company;
    batch.emplace_back(core::Sweep{.at = now, .limit = k_step_rows, .enough = enough_after(most)});
    delivery.completions.emplace_back();
  }
  if (purge) {
    const core::Millis most = items.empty() && !sweep ? k_step : k_step_in_company;
    batch.emplace_back(core::Purge{.at = now, .limit = k_step_rows, .enough = enough_after(most)});
    delivery.completions.emplace_back();
  }
  const bool nothing = batch.empty() && !(more_queued_ && has_places(budget_));
  claim_again_ = false;
  if (nothing) return;
  const auto begun = steady_clock::now();
  ++commits_to_move_;
  delivery.committed = store_->commit(batch, budget_, now);
  last_commit_ = steady_clock::now();
  rested_ = false;
  delivery.cost = CommitCost{batch.size(), last_commit_ - begun};
  delivery.revoked = revokes_seen_;
  MAILOTP_CRASH_POINT_IF(has_relayed(batch), "relayed_committed");
  CHECK(delivery.committed.outcomes.size() == delivery.completions.size());
  if (purge) note_purged(delivery.committed.outcomes.back());
  note_handed_out(delivery.committed.jobs);
  next_due_ = delivery.committed.next_due;
  more_queued_ = delivery.committed.more_queued;
  claim_again_ = delivery.committed.claim_again;
  if (delivery.committed.unreadable > 0)
    log_.write(core::LogLevel::error,
               fmt::format("event=rows_unreadable count={} reason=\"they are held or passed over\"",
                           delivery.committed.unreadable));
  if (delivery.committed.error) closed_ = true;  // until a look says otherwise
  keep_unsettled(batch, delivery, now);
  deliveries_.push(std::move(delivery));
  wakeup_.send();
}

void StoreThread::take_places(Item& item) {
  if (item.revoke) {
    ++revokes_seen_;
    for (core::RelayOffer& relay : budget_.relays)
      relay.jobs = 0;
  }
  if (!item.offer.empty()) {
    for (core::RelayOffer& offered : item.offer) {
      const auto known = std::ranges::find(budget_.relays, offered.name, &core::RelayOffer::name);
      if (known == budget_.relays.end()) continue;
      offered.jobs = known->jobs;
      offered.last_turn = known->last_turn;
    }
    budget_.relays = std::move(item.offer);
  }
  if (item.places == 0) return;
  const auto relay = std::ranges::find(budget_.relays, item.relay, &core::RelayOffer::name);
  if (relay != budget_.relays.end()) relay->jobs += item.places;
}

void StoreThread::note_handed_out(const std::vector<core::Job>& jobs) {
  for (const core::Job& job : jobs) {
    const auto relay = std::ranges::find(budget_.relays, job.relay, &core::RelayOffer::name);
    CHECK(relay != budget_.relays.end());
    --relay->jobs;
    relay->last_turn = ++turn_;
  }
}

// A fact that could not be written is still true: it is tried again with the first sweep after the pause, so
// once a second and not in every batch (which would fail with it), until the store takes it; and once more
// when the thread stops. The pause begins with a failure and not anew with those that come in it: a load that
// fails again and again puts nothing off.
void StoreThread::keep_unsettled(std::vector<core::Command>& batch, Delivery& delivery, core::WallTime now) {
  const core::Committed& committed = delivery.committed;
  bool failed = committed.error.has_value();
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (committed.outcomes[i]) continue;
    failed = true;
    if (must_be_written(batch[i], committed.outcomes[i].error()))
      unsettled_.push_back({std::move(batch[i]), std::exchange(delivery.completions[i], nullptr)});
    more_queued_ = false;
    claim_again_ = false;
  }
  if (!failed) return;
  next_due_ = now;
  const auto time = steady_clock::now();
  if (time >= pause_until_) pause_until_ = time + k_pause_after_failure;
}

// An app that asks for it again and again does not fill the log.
void StoreThread::note_bad_row(const core::Error& error) {
  const auto now = steady_clock::now();
  if (now < next_bad_row_) return;
  next_bad_row_ = now + k_look_interval;
  log_.write(core::LogLevel::error, fmt::format("event=row_unreadable what=\"{}\"", error.what));
}

void StoreThread::give_out(Delivery& delivery) {
  std::vector<core::Job>& jobs = delivery.committed.jobs;
  if (jobs.empty()) return;
  if (delivery.revoked == revoked_) return observer_.on_jobs(std::move(jobs));
  for (const core::Job& job : jobs) {
    core::JobNotSent back{job.key, core::Stage::local, "the sending process was gone", std::nullopt};
    settle(core::SettleFact{wall_now(), std::move(back)});
  }
}

void StoreThread::note_health(const core::Committed& committed) {
  core::Result<> health;
  if (committed.error) health = tl::unexpected(*committed.error);
  for (const core::Outcome& outcome : committed.outcomes) {
    if (outcome) continue;
    // One that met a bad row says nothing about the others.
    if (outcome.error().code == core::Errc::corrupt) {
      note_bad_row(outcome.error());
    } else {
      health = tl::unexpected(outcome.error());
    }
  }
  // Another kind of failure is news too: a full disk may be followed by a broken one.
  const bool same = health.has_value() ? health_.has_value()
                                       : !health_.has_value() && health_.error().code == health.error().code;
  if (!same) {
    health_ = health;
    observer_.on_store_health(health_);
  }
}

void StoreThread::deliver() {
  for (Delivery& delivery : deliveries_.take(k_waiting_commands)) {
    ++heard_;
    MAILOTP_CRASH_POINT_IF(!delivery.completions.empty(), "committed");
    if (delivery.cost) observer_.on_commit(delivery.committed, *delivery.cost);
    if (!delivery.stopped && !delivery.looked) note_health(delivery.committed);
    // Jobs leave before the answers are written: the mail is on its way while the app still reads.
    give_out(delivery);
    for (std::size_t i = 0; i < delivery.completions.size(); ++i) {
      if (!delivery.completions[i]) continue;
      MAILOTP_CRASH_POINT("replying");
      delivery.completions[i](std::move(delivery.committed.outcomes[i]));
    }
    if (!delivery.committed.changes.empty()) observer_.on_changes(delivery.committed.changes);
    if (!delivery.committed.bounces.empty()) observer_.on_bounces(delivery.committed.bounces);
    if (delivery.committed.events) observer_.on_events();
    if (!delivery.committed.brakes.empty()) observer_.on_brakes(delivery.committed.brakes);
    if (delivery.stopped && stopped_) std::exchange(stopped_, nullptr)();
  }
}

}  // namespace mailotp::daemon
