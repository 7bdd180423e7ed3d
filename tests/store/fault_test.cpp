// A disk that refuses: nothing that was answered may be lost, nothing that was refused may have happened.
#include <filesystem>

#include <catch2/catch.hpp>

#include "tests/store/database.h"
#include "tests/store/fault_file.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using core::Errc;

namespace {

std::vector<core::Command> three_creates(StoreFixture& f, std::vector<core::Id>& ids) {
  std::vector<core::Command> batch;
  for (const char* mailbox : {"a@example.org", "b@example.org", "c@example.org"}) {
    core::CreateChallenge command = f.create_command(mailbox);
    ids.push_back(command.id);
    batch.emplace_back(std::move(command));
  }
  return batch;
}

bool exists(StoreFixture& f, const core::Id& id) {
  const auto reader = SqliteReader::open(f.folder.path());
  REQUIRE(reader);
  return (*reader)->challenge("shop", id, f.now).has_value();
}

}  // namespace

TEST_CASE("a full disk fails every command that it hits, and the store goes on when there is room") {
  FaultFiles files;
  int first = 0;
  bool struck = true;
  // The first write fails, then the second, and so on until a run has none.
  for (; struck; ++first) {
    REQUIRE(first < 500);
    CAPTURE(first);
    StoreFixture f;
    const core::ChallengeView before = f.created("before@example.org");
    std::vector<core::Id> ids;
    auto batch = three_creates(f, ids);
    files.fail_from(first, FaultKind::disk_full);
    const core::Committed out = f.commit(std::move(batch), 10);
    struck = files.struck();
    files.stop_failing();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (!out.outcomes[i]) CHECK(out.outcomes[i].error().code == Errc::no_space);
      CHECK(exists(f, ids[i]) == out.outcomes[i].has_value());
    }
    if (out.error) CHECK(out.jobs.empty());
    CHECK(exists(f, before.id));
    CHECK_FALSE(f.store->look().closed);
    const core::ChallengeView after = f.created("after@example.org");
    f.close();
    f.open();
    CHECK(exists(f, after.id));
    CHECK(Database(f.database_path()).value("PRAGMA integrity_check") == "ok");
    CHECK(std::to_string(f.stats().accepted_total) ==
          Database(f.database_path()).value("SELECT count(*) FROM message"));
  }
  CHECK(first > 2);
}

TEST_CASE("row 48: an error or a short write at any place of a commit and a checkpoint loses nothing") {
  const auto kind = GENERATE(FaultKind::write_error, FaultKind::short_write);
  FaultFiles files;
  int first = 0;
  bool struck = true;
  for (; struck; ++first) {
    REQUIRE(first < 500);
    CAPTURE(static_cast<int>(kind), first);
    StoreFixture f;
    const core::ChallengeView before = f.created("before@example.org");
    std::vector<core::Id> ids;
    auto batch = three_creates(f, ids);
    files.fail_from(first, kind);
    const core::Committed out = f.commit(std::move(batch), 10);
    const auto rested = f.store->rest();
    struck = files.struck();
    CHECK((rested.has_value() || struck));
    // Whatever the disk says later: the process has to end.
    if (struck) CHECK_FALSE(f.run(f.create_command("later@example.org")));
    files.stop_failing();
    f.close();
    f.open();
    CHECK(exists(f, before.id));
    for (std::size_t i = 0; i < ids.size(); ++i)
      CHECK(exists(f, ids[i]) == out.outcomes[i].has_value());
    CHECK(Database(f.database_path()).value("PRAGMA integrity_check") == "ok");
  }
  CHECK(first > 5);
}

TEST_CASE("row 48: a failed write in the middle of a transaction is final too") {
  FaultFiles files;
  StoreFixture f;
  std::vector<core::Id> ids;
  auto batch = three_creates(f, ids);
  // More than the cache holds, so that pages go to the log before the COMMIT.
  for (core::Command& command : batch)
    std::get<core::CreateChallenge>(command).metadata = std::string(20 << 20, 'x');
  files.fail_from(0, FaultKind::write_error, 1);
  const core::Committed out = f.commit(std::move(batch), 10);
  REQUIRE(files.struck());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    REQUIRE_FALSE(out.outcomes[i]);
    CHECK(out.outcomes[i].error().code == Errc::io);
    CHECK_FALSE(exists(f, ids[i]));
  }
  CHECK(out.error);
  CHECK_FALSE(f.run(f.create_command("later@example.org")));
}

TEST_CASE("after a failed sync nothing is promised any more until the store is opened anew") {
  FaultFiles files;
  StoreFixture f;
  const core::ChallengeView before = f.created("before@example.org");
  std::vector<core::Id> ids;
  files.fail_from(0, FaultKind::sync_error);
  const core::Committed out = f.commit(three_creates(f, ids), 10);
  REQUIRE(files.struck());
  files.stop_failing();
  for (const core::Outcome& outcome : out.outcomes) {
    REQUIRE_FALSE(outcome);
    CHECK(outcome.error().code == Errc::io);
  }
  REQUIRE(out.error);
  CHECK(out.jobs.empty());
  // The disk says yes again, but what it has of the log is unknown.
  const auto later = f.run(f.create_command("later@example.org"));
  REQUIRE_FALSE(later);
  CHECK(later.error().code == Errc::io);
  CHECK_FALSE(f.store->rest());
  CHECK_FALSE(f.store->recover(f.now));
  f.close();
  f.open();
  CHECK(exists(f, before.id));
  CHECK(Database(f.database_path()).value("PRAGMA integrity_check") == "ok");
  const core::ChallengeView after = f.created("after@example.org");
  CHECK(exists(f, after.id));
}

TEST_CASE("row 49: a full disk takes nothing new and hands nothing out, but writes facts and checks") {
  FaultFiles files;
  StoreFixture f;
  const core::ChallengeView out = f.created("out@example.org");
  const std::string code = f.last_code;
  const std::vector<core::Job> jobs = f.claim(1);
  REQUIRE(jobs.size() == 1);
  const core::ChallengeView queued = f.created("queued@example.org");
  files.fail_from(0, FaultKind::disk_full, 1);  // what the reserve frees is room for the rest
  REQUIRE(std::filesystem::file_size(f.folder.path() + "/mailotpd.reserve") ==
          static_cast<std::uintmax_t>(f.reserve));
  std::vector<core::Command> batch;
  batch.emplace_back(f.create_command("new@example.org"));
  batch.emplace_back(f.fact(core::JobRelayed{jobs[0].key, {250, "", "ok"}}));
  batch.emplace_back(f.check_command(out.id, code));
  const core::Committed full = f.commit(std::move(batch), 10);
  REQUIRE(files.struck());
  CHECK(std::filesystem::file_size(f.folder.path() + "/mailotpd.reserve") == 0);
  REQUIRE_FALSE(full.outcomes[0]);
  CHECK(full.outcomes[0].error().code == Errc::no_space);
  CHECK(full.outcomes[1]);
  CHECK(full.outcomes[2]);
  REQUIRE(full.error);
  CHECK(full.error->code == Errc::no_space);
  CHECK(full.jobs.empty());
  CHECK(f.message_view(out.message->id).state == core::MessageState::relayed);

  // Nothing new until the reserve is there again, though a write would succeed.
  const auto later = f.run(f.send_command(queued.id));
  REQUIRE_FALSE(later);
  CHECK(later.error().code == Errc::no_space);
  CHECK(f.commit({}, 10).jobs.empty());
  CHECK_FALSE(f.store->look().closed);
  CHECK(std::filesystem::file_size(f.folder.path() + "/mailotpd.reserve") ==
        static_cast<std::uintmax_t>(f.reserve));
  (void)f.created("after@example.org");
  CHECK(f.claim(10).size() == 2);
}

TEST_CASE("row 49: little free disk refuses new work and nothing else") {
  StoreFixture f;
  const core::ChallengeView before = f.created();
  const std::string code = f.last_code;
  f.close();
  f.min_free_disk = INT64_MAX;
  f.open();
  const core::StoreLook look = f.store->look();
  CHECK_FALSE(look.closed);
  CHECK(look.low.find("free") != std::string::npos);
  const core::Refusal refused = f.refusal(f.create_command("new@example.org"));
  CHECK(refused.kind == core::RefusalKind::overloaded);
  CHECK(refused.detail == look.low);
  CHECK(f.claim(10).size() == 1);
  CHECK(f.check_answer(f.check_command(before.id, code)).result == core::CheckResult::valid);
}

TEST_CASE("row 52: nothing is written into a database that was removed or replaced") {
  const char* const suffix = GENERATE("", "-wal", "-shm");
  CAPTURE(suffix);
  StoreFixture f;
  const core::ChallengeView before = f.created();
  const std::string path = f.database_path() + suffix;
  std::filesystem::rename(path, path + ".away");
  if (GENERATE(true, false)) std::filesystem::copy_file(path + ".away", path);
  const core::StoreLook look = f.store->look();
  REQUIRE(look.closed);
  CHECK(look.closed->code == Errc::unavailable);
  CHECK(look.closed->what.find("removed or replaced: " + path) != std::string::npos);
  for (const bool settles : {true, false}) {
    const auto outcome = f.run(settles ? core::Command{f.fact(core::JobRelayed{{before.message->id, 1}, {}})}
                                       : core::Command{f.create_command("new@example.org")});
    REQUIRE_FALSE(outcome);
    CHECK(outcome.error().code == Errc::unavailable);
  }
  const core::Committed none = f.commit({}, 10);
  CHECK(none.jobs.empty());
  CHECK(none.error);
  // The same file is back in its place: nothing has been lost.
  std::filesystem::rename(path + ".away", path);
  CHECK_FALSE(f.store->look().closed);
  CHECK(f.claim(10).size() == 1);
  (void)f.created("after@example.org");
}

TEST_CASE("row 48: a checkpoint whose sync fails is not tried again") {
  FaultFiles files;
  StoreFixture f;
  const core::ChallengeView before = f.created();
  files.fail_from(0, FaultKind::sync_error, 1);
  const auto rested = f.store->rest();
  REQUIRE(files.struck());
  REQUIRE_FALSE(rested);
  CHECK(rested.error().code == Errc::io);
  // The disk says yes again, but not everything that the log says may be in the database.
  CHECK_FALSE(f.store->rest());
  CHECK_FALSE(f.run(f.create_command("later@example.org")));
  REQUIRE(f.store->look().closed);
  CHECK(f.store->look().closed->code == Errc::io);
  f.close();
  CHECK(std::filesystem::file_size(f.database_path() + "-wal") > 0);
  f.open();
  CHECK(exists(f, before.id));
}

TEST_CASE("a database that another process has locked is busy, and nothing is lost") {
  StoreFixture f;
  Database other(f.database_path());
  other.run("BEGIN IMMEDIATE");
  const auto outcome = f.run(f.create_command());
  other.run("ROLLBACK");
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code == Errc::busy);
  (void)f.created();
}

}  // namespace mailotp::store::test
