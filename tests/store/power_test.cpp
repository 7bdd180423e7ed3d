// Power loss (row 46 of docs/RELIABILITY.md): at each sync of a run, one after the other, the power goes, and
// of what was not yet synced nothing, everything or any part has reached the disk. What was answered is
// there, and nothing is half there.
#include <filesystem>

#include <catch2/catch.hpp>

#include "tests/store/database.h"
#include "tests/store/power_file.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

namespace {

// What the run was told before the power went.
struct Told {
  std::vector<core::Id> created;   // challenges
  std::vector<core::Id> relayed;   // messages
  std::vector<core::Id> verified;  // challenges
};

class Run {
 public:
  explicit Run(StoreFixture& f) : f_(f) {}
  Told told;

  // Everything that writes: a new database, creates, claims, facts, checks, a sweep, a shift and checkpoints.
  bool all() {
    if (!start()) return false;
    for (int round = 0; round < 3; ++round) {
      if (!create(round) || !settle() || !check()) return false;
      if (round != 1 && !f_.store->rest()) return false;
    }
    std::vector<core::Command> batch;
    batch.emplace_back(core::ShiftClock{f_.now, core::Millis{3'600'000}, {"boot", core::Millis{1}}});
    if (!commit(std::move(batch), 0)) return false;
    f_.close();
    return true;
  }

  bool start() {
    auto opened = SqliteStore::open({f_.folder.path(), key_ring({'k'}), f_.policy, "bounces@example.org",
                                     1000, f_.composer, f_.random, f_.tokens, 0, 0});
    if (!opened) return false;
    f_.store = *std::move(opened);
    return f_.store->recover(f_.now).has_value();
  }

 private:
  std::optional<core::Committed> commit(std::vector<core::Command> batch, int jobs) {
    core::Committed out = f_.commit(std::move(batch), jobs);
    if (out.error) return std::nullopt;
    for (const core::Outcome& outcome : out.outcomes) {
      if (!outcome) return std::nullopt;
    }
    return out;
  }

  bool create(int round) {
    std::vector<core::Command> batch;
    std::vector<core::Id> ids;
    for (int i = 0; i < 3; ++i) {
      auto command = f_.create_command("u" + std::to_string(round * 10 + i) + "@example.org");
      ids.push_back(command.id);
      code_ = f_.last_code;
      batch.emplace_back(std::move(command));
    }
    auto out = commit(std::move(batch), 2);
    if (!out) return false;
    told.created.insert(told.created.end(), ids.begin(), ids.end());
    jobs_ = std::move(out->jobs);
    return true;
  }

  bool settle() {
    std::vector<core::Command> batch;
    for (const core::Job& job : jobs_)
      batch.emplace_back(f_.fact(core::JobRelayed{job.key, {250, "", "ok"}}));
    if (!commit(std::move(batch), 0)) return false;
    for (const core::Job& job : jobs_)
      told.relayed.push_back(job.key.message);
    return true;
  }

  bool check() {
    std::vector<core::Command> batch;
    batch.emplace_back(f_.check_command(told.created.back(), code_));
    batch.emplace_back(core::Sweep{f_.now});
    if (!commit(std::move(batch), 0)) return false;
    told.verified.push_back(told.created.back());
    return true;
  }

  StoreFixture& f_;
  std::vector<core::Job> jobs_;
  std::string code_;
};

void remove_database(StoreFixture& f) {
  f.close();
  for (const char* suffix : {"", "-wal", "-shm", "-journal"})
    std::filesystem::remove(f.database_path() + suffix);
}

// With the power back.
void check_all(StoreFixture& f, const Told& told) {
  f.open();
  REQUIRE(f.store->recover(f.now));
  for (const core::Id& id : told.created)
    CHECK(f.view(id).message);
  for (const core::Id& id : told.relayed)
    CHECK(f.message_view(id).state == core::MessageState::relayed);
  for (const core::Id& id : told.verified)
    CHECK(f.view(id).state == core::ChallengeState::otp_valid);
  Database db(f.database_path());
  CHECK(db.value("PRAGMA integrity_check") == "ok");
  CHECK(db.value("SELECT count(*) FROM challenge WHERE message NOT IN (SELECT n FROM message)") == "0");
  CHECK(db.value("SELECT count(*) FROM message WHERE challenge NOT IN (SELECT id FROM challenge)") == "0");
  CHECK(db.value("SELECT count(*) FROM message m LEFT JOIN message_body b USING (n) WHERE (m.state <= 4) <> "
                 "(b.n IS NOT NULL)") == "0");
  CHECK(std::to_string(f.stats().accepted_total) == db.value("SELECT count(*) FROM message"));
  (void)f.created("after@example.org");
}

}  // namespace

TEST_CASE("row 46: power loss at every sync loses nothing that was answered") {
  const auto survives = GENERATE(Survives::nothing, Survives::everything, Survives::some);
  const std::uint64_t seeds = survives == Survives::some ? 2 : 1;
  int syncs = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    bool lost = true;
    for (int nth = 0; lost; ++nth) {
      REQUIRE(nth < 500);
      CAPTURE(static_cast<int>(survives), seed, nth);
      StoreFixture f;
      remove_database(f);
      Run run(f);
      {
        PowerFiles files;
        files.lose_at(nth, survives, seed);
        const bool whole = run.all();
        lost = files.lost();
        CHECK((whole || lost));
        f.close();
        files.restore();
      }
      check_all(f, run.told);
      syncs = std::max(syncs, nth);
    }
  }
  CHECK(syncs > 15);
}

TEST_CASE("row 46: power loss while the log is moved under load, and while it starts anew") {
  const auto survives = GENERATE(Survives::nothing, Survives::some);
  bool lost = true;
  int nth = 0;
  for (; lost; ++nth) {
    REQUIRE(nth < 100);
    CAPTURE(static_cast<int>(survives), nth);
    StoreFixture f;
    remove_database(f);
    Run run(f);
    {
      PowerFiles files;
      REQUIRE(run.start());
      // Pages enough for a checkpoint after the second of these; what comes then is at the log's beginning.
      for (int i = 0; i < 4; ++i) {
        auto command = f.create_command("big" + std::to_string(i) + "@example.org");
        command.message->mail.content = core::Secret(std::string(9 << 20, 'x'));
        const core::Id id = command.id;
        if (i == 1) files.lose_at(nth, survives, 7);
        std::vector<core::Command> batch;
        batch.emplace_back(std::move(command));
        const core::Committed out = f.commit(std::move(batch));
        if (out.outcomes[0]) run.told.created.push_back(id);
      }
      lost = files.lost();
      f.close();
      lost = lost || files.lost();
      files.restore();
    }
    check_all(f, run.told);
  }
  CHECK(nth > 5);
}

}  // namespace mailotp::store::test
