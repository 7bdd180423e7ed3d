// A disk that refuses: nothing that was answered may be lost, nothing that was refused may have happened.
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
  return (*reader)->challenge("shop", id).has_value();
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
