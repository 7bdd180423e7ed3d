// The store's and the reader's threads against a small model of a store: batches, credits, facts that cannot
// be lost.
#include "daemon/state/store_thread.h"

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>
#include <uv.h>

#include "daemon/state/reader_thread.h"

using namespace mailotp;

namespace {

struct NoLog final : core::Log {
  void write(core::LogLevel, std::string_view) override {}
};

core::Id id_of(std::uint8_t number) {
  core::Id id;
  id.bytes[15] = number;
  return id;
}

// Further wishes and counts.
struct Extra {
  std::atomic<int> claimed{0};
  std::atomic<int> sweeps{0}, tried{0};
  std::atomic<bool> due{false};        // for ever
  std::atomic<bool> bad_facts{false};  // every fact fails, alone
};

// Counts what it is asked to do; fails while `failures` is over 0. Claims one job for each create.
struct ModelStore final : core::Store {
  explicit ModelStore(std::atomic<int>& failures_left, std::atomic<int>& settled_count,
                      std::atomic<int>& largest_batch, Extra& also)
      : failures(failures_left), settled(settled_count), largest(largest_batch), extra(also) {}

  core::Result<core::Recovered> recover(core::WallTime) override { return core::Recovered{}; }
  core::Result<> rest() override { return {}; }
  core::StoreLook look() override { return {}; }
  core::Committed commit(std::span<core::Command> batch, const core::ClaimBudget& budget,
                         core::WallTime) override {
    core::Committed committed;
    if (static_cast<int>(batch.size()) > largest) largest = static_cast<int>(batch.size());
    const bool fails = failures > 0;
    if (fails) --failures;
    if (extra.due) committed.next_due = core::WallTime{core::Millis{0}};
    for (core::Command& command : batch) {
      if (std::holds_alternative<core::Sweep>(command)) ++extra.sweeps;
      const bool is_fact = std::holds_alternative<core::SettleFact>(command);
      if (is_fact) ++extra.tried;
      const bool is_bad_mail = std::holds_alternative<core::RecordPoison>(command);
      if ((is_fact && extra.bad_facts) || is_bad_mail || std::holds_alternative<core::Recall>(command)) {
        committed.outcomes.emplace_back(core::fail(core::Errc::corrupt, "planned"));
        continue;
      }
      if (fails) {
        committed.outcomes.emplace_back(
            core::fail(failures == 0 ? core::Errc::io : core::Errc::no_space, "planned"));
        continue;
      }
      if (std::holds_alternative<core::SettleFact>(command)) ++settled;
      if (std::holds_alternative<core::CreateChallenge>(command)) ++queued;
      if (const auto* read = std::get_if<core::RecordMail>(&command)) {
        committed.bounces.emplace_back();
        committed.outcomes.emplace_back(core::Answer{core::MailFiled{read->mail.mail, {}}});
        continue;
      }
      committed.outcomes.emplace_back(core::Answer{core::Done{}});
    }
    const int places = budget.relays.empty() ? 0 : budget.relays.front().jobs;
    while (!fails && queued > 0 && static_cast<int>(committed.jobs.size()) < places) {
      --queued;
      ++extra.claimed;
      committed.jobs.emplace_back().relay = "r";
    }
    committed.more_queued = queued > 0;
    return committed;
  }

  std::atomic<int>& failures;
  std::atomic<int>& settled;
  std::atomic<int>& largest;
  Extra& extra;
  int queued = 0;
};

struct Loop {
  Loop() { REQUIRE(uv_loop_init(&loop) == 0); }
  ~Loop() {
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    const int closed = uv_loop_close(&loop);
    CHECK(closed == 0);
  }
  // Turns the loop until `done`, for 20 s at most.
  void until(const std::function<bool()>& done) {
    bool late = false;
    uv_timer_t limit;
    uv_timer_init(&loop, &limit);
    limit.data = &late;
    uv_timer_start(
        &limit, [](uv_timer_t* t) { *static_cast<bool*>(t->data) = true; }, 20000, 0);
    while (!done() && !late)
      uv_run(&loop, UV_RUN_ONCE);
    uv_close(reinterpret_cast<uv_handle_t*>(&limit), nullptr);
    uv_run(&loop, UV_RUN_NOWAIT);
    REQUIRE_FALSE(late);
  }
  uv_loop_t loop{};
};

struct Fixture : daemon::StoreThread::Observer {
  Loop loop;
  NoLog log;
  std::atomic<int> failures{0}, settled{0}, largest{0};
  Extra extra;
  int jobs = 0;
  int bounces = 0;
  int health_changes = 0;
  bool healthy = true;
  std::vector<core::Errc> seen;
  daemon::StoreThread thread{&loop.loop, std::make_unique<ModelStore>(failures, settled, largest, extra),
                             *this, log};

  void on_commit(const core::Committed& committed, const daemon::StoreThread::CommitCost& cost) override {
    CHECK(committed.outcomes.size() == cost.commands);
    CHECK(cost.took.count() >= 0);
  }
  void on_changes(const std::vector<core::Change>&) override {}
  void on_jobs(std::vector<core::Job> out) override { jobs += static_cast<int>(out.size()); }
  void on_events() override {}
  void on_brakes(const std::vector<core::BrakeNews>&) override {}
  void on_bounces(const std::vector<core::BounceNews>& news) override {
    bounces += static_cast<int>(news.size());
  }
  void on_store_health(const core::Result<>& health) override {
    ++health_changes;
    healthy = health.has_value();
    if (!health) seen.push_back(health.error().code);
  }
  void stop() {
    bool stopped = false;
    thread.stop([&] { stopped = true; });
    loop.until([&] { return stopped; });
  }
};

core::Command fact() {
  return core::SettleFact{{}, core::JobRelayed{{id_of(1), 1}, {250, "", "ok"}}};
}

core::Command mail(std::uint32_t uid) {
  core::RecordMail command;
  command.mail.mail = {7, uid};
  return command;
}

}  // namespace

TEST_CASE(
    "a mail that could not be written is kept and answered once, when it is; the log learns of it then") {
  Fixture f;
  f.failures = 3;
  f.thread.start({});
  std::vector<std::uint32_t> filed;
  for (const std::uint32_t uid : {5U, 6U})
    f.thread.record(mail(uid), [&](const core::Outcome& outcome) {
      REQUIRE(outcome);
      filed.push_back(std::get<core::MailFiled>(*outcome).mail.uid);
    });
  f.loop.until([&] { return !f.healthy; });
  CHECK(filed.empty());
  CHECK(f.bounces == 0);
  f.loop.until([&] { return filed.size() == 2 && f.bounces == 2; });
  CHECK(filed == std::vector<std::uint32_t>{5, 6});
  CHECK(f.healthy);
  f.stop();
  CHECK(filed.size() == 2);
}

TEST_CASE(
    "the thread gives signs of life with nothing to do, and none of them passes for a store that is well") {
  Fixture f;
  f.thread.start({});
  f.loop.until([&] { return f.thread.signs_of_life() >= 2; });
  f.failures = 1'000'000;
  f.thread.settle(fact());
  f.loop.until([&] { return !f.healthy; });
  const std::uint64_t seen = f.thread.signs_of_life();
  f.loop.until([&] { return f.thread.signs_of_life() >= seen + 3; });
  CHECK_FALSE(f.healthy);
  f.failures = 0;
  f.loop.until([&] { return f.healthy; });
  f.stop();
}

TEST_CASE("no mail is written before an earlier one that waits: it would stand for it after a crash") {
  Fixture f;
  f.failures = 1;
  f.thread.start({});
  std::vector<std::uint32_t> filed;
  const auto record = [&](std::uint32_t uid) {
    f.thread.record(mail(uid), [&](const core::Outcome& outcome) {
      REQUIRE(outcome);
      filed.push_back(std::get<core::MailFiled>(*outcome).mail.uid);
    });
  };
  record(5);
  f.loop.until([&] { return !f.healthy; });
  record(6);  // in the pause before 5 is tried again
  f.loop.until([&] { return filed.size() == 2; });
  CHECK(filed == std::vector<std::uint32_t>{5, 6});
  f.stop();
}

TEST_CASE("a mail that meets a bad row is not kept: its answer is the error") {
  Fixture f;
  f.thread.start({});
  std::vector<core::Errc> errors;
  f.thread.record(core::RecordPoison{}, [&](const core::Outcome& outcome) {
    REQUIRE_FALSE(outcome);
    errors.push_back(outcome.error().code);
  });
  f.loop.until([&] { return errors.size() == 1; });
  CHECK(errors.front() == core::Errc::corrupt);
  CHECK(f.healthy);
  f.stop();
}

TEST_CASE("a mail that could not be written by the end is answered with an error, on the loop") {
  Fixture f;
  f.failures = 1'000'000;
  f.thread.start({});
  int errors = 0;
  f.thread.record(mail(5), [&](const core::Outcome& outcome) { errors += outcome ? 0 : 1; });
  f.loop.until([&] { return !f.healthy; });
  const int changes = f.health_changes;
  f.stop();
  CHECK(errors == 1);
  CHECK(f.health_changes == changes);  // the end is no news of the disk
}

TEST_CASE("every command is answered once, on the loop, in the order of submission") {
  Fixture f;
  f.thread.start({});
  std::vector<int> answered;
  for (int i = 0; i < 1000; ++i)
    REQUIRE(f.thread.submit(core::CancelChallenge{}, [&answered, i](const core::Outcome& outcome) {
      CHECK(outcome);
      answered.push_back(i);
    }));
  f.loop.until([&] { return answered.size() == 1000; });
  CHECK(std::is_sorted(answered.begin(), answered.end()));
  f.stop();
}

TEST_CASE("commands that wait together share a transaction") {
  Fixture f;
  int answered = 0;
  for (int i = 0; i < 200; ++i)
    REQUIRE(f.thread.submit(core::CancelChallenge{}, [&](const core::Outcome&) { ++answered; }));
  f.thread.start({});
  f.loop.until([&] { return answered == 200; });
  CHECK(f.largest == 200);
  f.stop();
}

TEST_CASE("jobs are claimed only as far as credits go, and go on when credits come back") {
  Fixture f;
  f.thread.start({});
  int answered = 0;
  for (int i = 0; i < 10; ++i)
    REQUIRE(f.thread.submit(core::CreateChallenge{}, [&](const core::Outcome&) { ++answered; }));
  f.loop.until([&] { return answered == 10; });
  CHECK(f.jobs == 0);
  core::RelayOffer relay;
  relay.name = "r";
  relay.use = core::RelayUse::clean;
  f.thread.offer({relay});
  f.thread.grant("r", 4);
  f.loop.until([&] { return f.jobs == 4; });
  f.thread.settle(fact(), "r");
  f.loop.until([&] { return f.jobs == 5; });
  f.thread.revoke();
  f.thread.settle(fact());
  f.loop.until([&] { return f.settled == 2; });
  f.thread.grant("r", 100);
  f.loop.until([&] { return f.jobs == 10; });
  f.stop();
}

TEST_CASE("fixed: jobs that were claimed for an agent that is gone went to the next one, beyond its places") {
  Fixture f;
  f.thread.start({});
  int answered = 0;
  for (int i = 0; i < 4; ++i)
    REQUIRE(f.thread.submit(core::CreateChallenge{}, [&](const core::Outcome&) { ++answered; }));
  f.loop.until([&] { return answered == 4; });
  core::RelayOffer relay;
  relay.name = "r";
  relay.use = core::RelayUse::clean;
  f.thread.offer({relay});
  f.thread.grant("r", 4);
  while (f.extra.claimed < 4)  // the loop stands still, so they are on their way
    std::this_thread::yield();
  f.thread.revoke();
  f.thread.grant("r", 4);
  f.loop.until([&] { return f.settled == 4; });  // each came back as not sent
  CHECK(f.jobs == 0);
  f.stop();
}

TEST_CASE("a fact that the store could not write is written when it can") {
  Fixture f;
  f.failures = 1;
  f.thread.start({});
  f.thread.settle(fact());
  f.loop.until([&] { return f.settled == 1 && f.healthy; });
  CHECK(f.health_changes == 2);
  f.stop();
}

TEST_CASE("commands that fail again and again do not put off the sweep") {
  Fixture f;
  f.extra.due = true;
  f.thread.start({});
  std::function<void(const core::Outcome&)> again = [&](const core::Outcome& outcome) {
    CHECK_FALSE(outcome);
    if (f.extra.sweeps < 2) REQUIRE(f.thread.submit(core::Recall{}, again));
  };
  REQUIRE(f.thread.submit(core::Recall{}, again));
  f.loop.until([&] { return f.extra.sweeps >= 2; });
  f.stop();
}

TEST_CASE("a fact that cannot be written is not tried with every batch, but once a second") {
  Fixture f;
  f.extra.bad_facts = true;
  f.thread.start({});
  const auto begun = std::chrono::steady_clock::now();
  f.thread.settle(fact());
  int answered = 0;
  std::function<void(const core::Outcome&)> again = [&](const core::Outcome&) {
    if (++answered < 2000) REQUIRE(f.thread.submit(core::CancelChallenge{}, again));
  };
  REQUIRE(f.thread.submit(core::CancelChallenge{}, again));
  f.loop.until([&] { return answered == 2000; });
  const auto took = std::chrono::steady_clock::now() - begun;
  CHECK(f.extra.tried <= 2 + took / std::chrono::seconds{1});
  f.extra.bad_facts = false;
  f.loop.until([&] { return f.settled == 1; });
  f.stop();
}

TEST_CASE("a fact that could not be written is tried once more when the thread stops") {
  Fixture f;
  f.failures = 1;
  f.thread.start({});
  f.thread.settle(fact());
  f.loop.until([&] { return !f.healthy; });
  f.stop();
  CHECK(f.settled == 1);
}

TEST_CASE("a broken disk after a full one is told") {
  Fixture f;
  f.failures = 2;  // the model's last planned failure is of I/O, those before it of space
  f.thread.start({});
  f.thread.settle(fact());
  f.loop.until([&] { return f.settled == 1 && f.healthy; });
  CHECK(f.seen == std::vector<core::Errc>{core::Errc::no_space, core::Errc::io});
  f.stop();
}

TEST_CASE("stopping commits what was submitted and refuses what comes later") {
  Fixture f;
  f.thread.start({});
  int answered = 0;
  for (int i = 0; i < 50; ++i)
    REQUIRE(f.thread.submit(core::CancelChallenge{}, [&](const core::Outcome&) { ++answered; }));
  f.stop();
  CHECK(answered == 50);
  CHECK_FALSE(f.thread.submit(core::CancelChallenge{}, [](const core::Outcome&) {}));
}

namespace {

struct ModelReader final : core::StoreReader {
  core::Result<core::ChallengeView> challenge(const std::string& app, const core::Id& id,
                                              core::WallTime) override {
    core::ChallengeView view;
    view.app = app;
    view.id = id;
    return view;
  }
  core::Result<core::MessageView> message(const std::string&, const core::Id&) override {
    return core::fail(core::Errc::not_found, "none");
  }
  core::Result<core::PageOf<core::MessageView>> outbox(const core::OutboxFilter&,
                                                       const core::Page&) override {
    return core::PageOf<core::MessageView>{};
  }
  core::Result<core::OutboxDetail> outbox_item(const core::Id&) override { return core::OutboxDetail{}; }
  core::Result<core::Stats> stats(core::WallTime) override { return core::Stats{}; }
  core::Result<core::RecipientView> recipient(const std::string&, const core::Address&,
                                              core::WallTime) override {
    return core::RecipientView{};
  }
  core::Result<core::PageOf<core::BounceView>> bounces(const core::BounceFilter&,
                                                       const core::Page&) override {
    return core::PageOf<core::BounceView>{};
  }
  core::Result<core::PageOf<core::SuppressionView>> suppressions(const std::string&, const core::Page&,
                                                                 core::WallTime) override {
    return core::PageOf<core::SuppressionView>{};
  }
  core::Result<core::PageOf<core::TimelineItem>> timeline(const core::TimelineFilter&,
                                                          const core::Page&) override {
    return core::PageOf<core::TimelineItem>{};
  }
  core::Result<core::EventPage> events(const core::EventFilter&) override { return core::EventPage{}; }
  core::Result<std::int64_t> newest_event() override { return 0; }
  core::Result<std::vector<core::KeyUse>> keys() override { return std::vector<core::KeyUse>{}; }
  void take_over(core::LimitRules) override {}
};

}  // namespace

TEST_CASE("reads are answered on the loop, errors too") {
  Loop loop;
  daemon::ReaderThread reader(&loop.loop, std::make_unique<ModelReader>());
  int found = 0, missing = 0;
  for (std::uint8_t i = 0; i < 100; ++i) {
    REQUIRE(reader.read<core::ChallengeView>(
        [i](core::StoreReader& store) { return store.challenge("app", id_of(i), {}); },
        [&, i](core::Result<core::ChallengeView> view) { found += view && view->id == id_of(i) ? 1 : 0; }));
    REQUIRE(reader.read<core::MessageView>(
        [i](core::StoreReader& store) { return store.message("app", id_of(i)); },
        [&](core::Result<core::MessageView> view) { missing += view ? 0 : 1; }));
  }
  loop.until([&] { return found == 100 && missing == 100; });
  reader.stop();
}
