// The store's thread: gathers commands into batches (group commit), runs each batch as one durable
// transaction and brings the answers back to the loop. It is also the clock of the store: sweeps when
// something is due and checkpoints in idle moments.
//
//   loop: submit(command, done) ──mailbox──► store thread: commit(batch) ──mailbox + wake-up──► loop:
//   done(outcome)
//
// Everything but the commit itself happens on the loop thread: callbacks are made, called and destroyed
// there.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <uv.h>

#include "core/log.h"
#include "core/store.h"
#include "daemon/loop/handles.h"
#include "daemon/loop/mailbox.h"

namespace mailotp::daemon {

class StoreThread {
 public:
  using Completion = std::function<void(core::Outcome)>;

  // What one transaction cost.
  struct CommitCost {
    std::size_t commands = 0;
    std::chrono::nanoseconds took{0};
  };
  // What a commit brought besides its outcomes. Loop thread.
  class Observer {
   public:
    virtual ~Observer() = default;
    // All of it, before anybody else is told.
    virtual void on_commit(const core::Committed& committed, const CommitCost& cost) = 0;
    virtual void on_changes(const std::vector<core::Change>& changes) = 0;
    virtual void on_jobs(std::vector<core::Job> jobs) = 0;
    virtual void on_bounces(const std::vector<core::BounceNews>& bounces) = 0;
    // There is more to read in the log of events.
    virtual void on_events() = 0;
    virtual void on_brakes(const std::vector<core::BrakeNews>& brakes) = 0;
    // The store could not commit, or can again.
    virtual void on_store_health(const core::Result<>& health) = 0;
  };

  StoreThread(uv_loop_t* loop, std::unique_ptr<core::Store> store, Observer& observer, core::Log& log);
  ~StoreThread();
  StoreThread(const StoreThread&) = delete;
  StoreThread& operator=(const StoreThread&) = delete;

  void start(const core::Recovered& recovered);
  // New work: false when too much waits already (answer 503 `overloaded`) or the thread is stopping.
  [[nodiscard]] bool submit(core::Command command, Completion done);
  // Facts of jobs and what else must not be refused. The relay that ended a job has a place for another one.
  void settle(core::Command command, std::string relay = {});
  // What the bounce mailbox brought: not refused either, and `done` comes once, after the commit that it is
  // in, however long the disk was full before. It comes with an error only when no repetition would help, or
  // when the thread stops.
  void record(core::Command command, Completion done);
  // What is known of the relays; their places stay as they are, or 0 for a new one.
  void offer(std::vector<core::RelayOffer> relays);
  // The relay has so many (more) places. Its name is in the offer.
  void grant(std::string relay, int places);
  // Takes back all places: the agent is gone. Jobs that a commit under way claims for it are not given to
  // the next one, whose places they would not be counted in: they come back as not sent.
  void revoke();
  // For who watches: how often the thread has been heard of, ever. It says something at least once a second,
  // unless it is stuck. Loop thread.
  [[nodiscard]] std::uint64_t signs_of_life() const { return heard_; }

  // Commits what was submitted, closes the store, then calls `stopped` on the loop.
  void stop(std::function<void()> stopped);

 private:
  struct Item {
    std::vector<core::Command> command;  // none or one: not every message carries one
    Completion done;
    std::vector<core::RelayOffer> offer;
    std::string relay;
    int places = 0;
    bool revoke = false;
  };
  // It has to be written and could not be.
  struct Unsettled {
    core::Command command;
    Completion done;  // of record()
  };
  struct Delivery {
    std::vector<Completion> completions;
    core::Committed committed;       // or the error that a checkpoint or a look has found, alone
    std::optional<CommitCost> cost;  // absent: there was no commit
    std::uint64_t revoked = 0;       // how often, as this commit knew it
    bool looked = false;             // nothing but a sign of life
    bool stopped = false;
  };

  void run();
  void await_company(std::deque<Item>& items);
  void commit(std::deque<Item>& items, bool sweep, bool purge);
  [[nodiscard]] bool purge_is_due(bool idle) const;
  void note_purged(const core::Outcome& outcome);
  void take_places(Item& item);
  void note_handed_out(const std::vector<core::Job>& jobs);
  [[nodiscard]] bool sweep_is_due() const;
  [[nodiscard]] bool checkpoint_is_due() const;
  void keep_unsettled(std::vector<core::Command>& batch, Delivery& delivery, core::WallTime now);
  void look();
  void follow_clock();
  bool shift_clock(core::Millis by);
  void tell(const core::Error& error);
  void give_out(Delivery& delivery);
  void note_bad_row(const core::Error& error);
  void note_health(const core::Committed& committed);
  void deliver();
  [[nodiscard]] std::chrono::steady_clock::time_point next_wake(bool idle) const;

  core::Log& log_;
  Observer& observer_;
  Mailbox<Item> commands_;
  Mailbox<Delivery> deliveries_;
  Wakeup wakeup_;
  std::function<void()> stopped_;
  core::Result<> health_;      // loop thread
  std::uint64_t revoked_ = 0;  // loop thread: calls of revoke()
  std::uint64_t heard_ = 0;    // loop thread
  std::chrono::steady_clock::time_point next_bad_row_;

  // Store thread only.
  std::unique_ptr<core::Store> store_;
  core::ClaimBudget budget_;
  std::vector<Unsettled> unsettled_;
  std::optional<core::WallTime> next_due_;
  std::chrono::steady_clock::time_point pause_until_;  // after a failure: no sweep before
  bool more_queued_ = false;
  bool claim_again_ = false;
  std::uint64_t turn_ = 0;
  std::uint64_t revokes_seen_ = 0;
  bool rested_ = true;       // what has been committed is in the database file
  int commits_to_move_ = 0;  // since the last checkpoint
  std::chrono::steady_clock::time_point last_commit_;
  std::chrono::steady_clock::time_point next_purge_;
  bool purge_left_ = false;  // more waits: an idle moment may go on
  std::chrono::steady_clock::time_point next_look_;
  std::string boot_;
  core::Millis saved_offset_{0};
  core::Millis shifted_by_{0};                           // the last step of the clock
  std::chrono::steady_clock::time_point shifted_until_;  // commands from before it may still come
  bool closed_ = false;                                  // as the last look found it
  std::string low_;

  std::thread thread_;
};

}  // namespace mailotp::daemon
