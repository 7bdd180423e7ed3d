#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/lock.h"
#include "store/migrations.h"
#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using core::Errc;

namespace {

core::Result<std::unique_ptr<SqliteStore>> try_open(StoreFixture& f, KeyRing keys = key_ring({'k'})) {
  return SqliteStore::open({f.folder.path(), std::move(keys), f.policy, "bounces@example.org", 1000,
                            f.composer, f.random, f.tokens});
}

}  // namespace

TEST_CASE("a new database is private, marked as ours and in WAL mode") {
  StoreFixture f;
  struct stat file {};
  REQUIRE(::stat(f.database_path().c_str(), &file) == 0);
  CHECK((file.st_mode & 0777) == 0600);
  Database db(f.database_path());
  CHECK(db.value("PRAGMA application_id") == std::to_string(0x6d6f7470));
  CHECK(db.value("PRAGMA user_version") == std::to_string(migrations().size()));
  CHECK(db.value("PRAGMA journal_mode") == "wal");
  CHECK(db.rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE '%STRICT%'").empty());
}

TEST_CASE("what was committed is there after a restart") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  f.close();
  f.open();
  const core::ChallengeView again = f.view(made.id);
  CHECK(again.state == core::ChallengeState::otp_sent);
  CHECK(again.message->id == made.message->id);
  CHECK(f.stats().accepted_total == 1);
  CHECK(f.check_answer(f.check_command(made.id, f.last_code)).result == core::CheckResult::valid);
}

TEST_CASE("a missing state folder is a clear error, and nothing is made") {
  StoreFixture f;
  const std::string missing = f.folder.path() + "/none";
  const auto opened = SqliteStore::open(
      {missing, key_ring({'k'}), f.policy, "b@x.org", 1000, f.composer, f.random, f.tokens});
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Errc::io);
  CHECK(opened.error().what.find(missing) != std::string::npos);
  CHECK(::access(missing.c_str(), F_OK) != 0);
}

TEST_CASE("a folder that another process holds is refused at once, with its pid") {
  StoreFixture f;
  f.close();
  int ready[2];
  int end[2];
  REQUIRE(::pipe(ready) == 0);
  REQUIRE(::pipe(end) == 0);
  const pid_t holder = ::fork();
  REQUIRE(holder >= 0);
  if (holder == 0) {
    ::close(end[1]);
    const auto lock = StateLock::acquire(f.folder.path());
    const char held = lock ? 'y' : 'n';
    char ignored = 0;
    (void)!::write(ready[1], &held, 1);
    (void)!::read(end[0], &ignored, 1);  // until the test has closed its end, or is gone
    ::_exit(0);
  }
  ::close(ready[1]);
  ::close(end[0]);
  char held = 0;
  const bool told = ::read(ready[0], &held, 1) == 1;
  const auto opened = try_open(f);
  ::close(end[1]);
  ::close(ready[0]);
  int status = 0;
  CHECK(::waitpid(holder, &status, 0) == holder);
  REQUIRE(told);
  REQUIRE(held == 'y');
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Errc::busy);
  CHECK(opened.error().what.find(std::to_string(holder)) != std::string::npos);
  CHECK(try_open(f));  // the lock went with its holder
}

TEST_CASE("a store in the same process is refused too") {
  StoreFixture f;
  const auto second = try_open(f);
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Errc::busy);
  CHECK(second.error().what.find(std::to_string(::getpid())) != std::string::npos);
}

TEST_CASE("a database of a newer schema is refused and left alone") {
  StoreFixture f;
  f.close();
  Database(f.database_path()).run("PRAGMA user_version = 99");
  const auto opened = try_open(f);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Errc::unsupported);
  CHECK(opened.error().what.find("99") != std::string::npos);
  CHECK(SqliteReader::open(f.folder.path()).error().code == Errc::unsupported);
  CHECK(Database(f.database_path()).value("PRAGMA user_version") == "99");
}

TEST_CASE("another program's database is refused") {
  StoreFixture f;
  f.close();
  Database(f.database_path()).run("PRAGMA application_id = 5");
  CHECK(try_open(f).error().code == Errc::invalid);
}

TEST_CASE("a file that is no database is corrupt") {
  StoreFixture f;
  f.close();
  std::ofstream(f.database_path(), std::ios::trunc) << std::string(8192, 'x');
  CHECK(try_open(f).error().code == Errc::corrupt);
}

TEST_CASE("a database that needs a key which the file lacks is refused, naming both") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  const std::string key = format_key_id(key_ring({'k'}).writing());
  f.close();
  const auto opened = try_open(f, key_ring({'n'}, "/etc/new.key"));
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Errc::invalid);
  CHECK(opened.error().what.find(key) != std::string::npos);
  CHECK(opened.error().what.find("/etc/new.key") != std::string::npos);

  // With both, the new one first, what the old one wrote is still read.
  f.open(key_ring({'n', 'k'}));
  CHECK(f.check_answer(f.check_command(made.id, f.last_code)).result == core::CheckResult::valid);
  f.close();
  // Now that nothing needs the old one, it may go.
  f.open(key_ring({'n'}));
  CHECK(Database(f.database_path()).value("SELECT id FROM key") == std::to_string(key_ring({'n'}).writing()));
}

TEST_CASE("a queued message alone needs its key") {
  StoreFixture f;
  (void)f.created();
  f.close();
  Database(f.database_path()).run("UPDATE challenge SET state = 6, key = NULL");
  CHECK(try_open(f, key_ring({'n'})).error().code == Errc::invalid);
}

TEST_CASE("row 47: after a run that did not end cleanly its log must be there") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  // As a kill leaves it: a copy of the folder while it is open.
  const TemporaryFolder left;
  for (const char* name : {"mailotpd.db", "mailotpd.db-wal", "mailotpd.lock"})
    std::filesystem::copy_file(f.folder.path() + "/" + name, left.path() + "/" + name);
  const auto open_left = [&] {
    return SqliteStore::open({left.path(), key_ring({'k'}), f.policy, "bounces@example.org", 1000, f.composer,
                              f.random, f.tokens});
  };
  const std::string log = left.path() + "/mailotpd.db-wal";
  std::filesystem::rename(log, log + ".away");
  for (int i = 0; i < 2; ++i) {
    const auto opened = open_left();
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == Errc::corrupt);
    CHECK(opened.error().what.find(log) != std::string::npos);
    CHECK(opened.error().what.find("mailotpd.lock") != std::string::npos);
  }
  SECTION("it is put back") {
    std::filesystem::rename(log + ".away", log);
    const auto opened = open_left();
    REQUIRE(opened);
    REQUIRE((*opened)->recover(f.now));
    CHECK((*SqliteReader::open(left.path()))->challenge("shop", made.id, f.now));
  }
  SECTION("its loss is accepted") {
    std::filesystem::remove(left.path() + "/mailotpd.lock");
    REQUIRE(open_left());
  }
  // The end was clean now: without a log, as it should be.
  CHECK_FALSE(std::filesystem::exists(log));
  CHECK(open_left());
}

TEST_CASE("row 47: a start that fails after a clean end needs no log at the next one") {
  StoreFixture f;
  (void)f.created();
  f.close();
  CHECK_FALSE(try_open(f, key_ring({'n'})));
  std::filesystem::remove(f.database_path() + "-wal");
  CHECK(try_open(f));
}

TEST_CASE("row 47: a start that cannot write its pid leaves the mark of the last run") {
  const TemporaryFolder folder;
  {
    auto lock = StateLock::acquire(folder.path());
    REQUIRE(lock);
    REQUIRE(lock->mark_open());
  }
  // No file may be written, as on a full disk.
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit none{0, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &none) == 0);
  const bool acquired = StateLock::acquire(folder.path()).has_value();
  const int restored = ::setrlimit(RLIMIT_FSIZE, &before);
  (void)std::signal(SIGXFSZ, handler);
  REQUIRE(restored == 0);
  CHECK_FALSE(acquired);
  const auto next = StateLock::acquire(folder.path());
  REQUIRE(next);
  CHECK(next->was_left_open());
}

TEST_CASE("row 47: garbage at the end of the log is not read") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  const TemporaryFolder left;
  const std::string log = left.path() + "/mailotpd.db-wal";
  for (const char* name : {"mailotpd.db", "mailotpd.db-wal", "mailotpd.lock"})
    std::filesystem::copy_file(f.folder.path() + "/" + name, left.path() + "/" + name);
  if (GENERATE(true, false)) {
    std::ofstream(log, std::ios::app | std::ios::binary)
        << std::string(GENERATE(1, 24, 4120, 50'000), '\x37');
  } else {
    // The last commit is torn: what was before it stays.
    (void)f.created("second@example.org");
    std::filesystem::copy_file(f.database_path() + "-wal", log,
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(log, std::filesystem::file_size(log) - GENERATE(1, 24, 4096, 5000));
  }
  {
    const auto opened = SqliteStore::open({left.path(), key_ring({'k'}), f.policy, "bounces@example.org",
                                           1000, f.composer, f.random, f.tokens});
    REQUIRE(opened);
    CHECK((*opened)->recover(f.now));
  }
  CHECK((*SqliteReader::open(left.path()))->challenge("shop", made.id, f.now));
  Database db(left.path() + "/mailotpd.db");
  CHECK(db.value("PRAGMA integrity_check") == "ok");
  CHECK(db.value("SELECT count(*) FROM challenge") == "1");
}

TEST_CASE("a clean close leaves no log behind") {
  StoreFixture f;
  (void)f.created();
  f.close();
  CHECK(::access((f.database_path() + "-wal").c_str(), F_OK) != 0);
}

TEST_CASE("a rest moves the log into the database") {
  StoreFixture f;
  (void)f.created();
  REQUIRE(f.store->rest());
  // Without the log the database file alone has it.
  const TemporaryFolder copy;
  const std::string path = copy.path() + "/copy.db";
  std::ofstream(path, std::ios::binary) << std::ifstream(f.database_path(), std::ios::binary).rdbuf();
  CHECK(Database(path).value("SELECT count(*) FROM challenge") == "1");
}

TEST_CASE("the log does not grow for ever under a load without rest, and a rest empties it at last") {
  StoreFixture f;
  const std::string log = f.database_path() + "-wal";
  const auto big_message = [&](int i) {
    core::CreateChallenge command = f.create_command("user" + std::to_string(i) + "@example.org");
    command.message->mail.content = core::Secret(std::string(1 << 20, 'x'));
    (void)f.challenge_answer(std::move(command));
  };
  std::uintmax_t largest = 0;
  for (int i = 0; i < 40; ++i) {
    big_message(i);
    largest = std::max(largest, std::filesystem::file_size(log));
  }
  CHECK(largest > 1u << 20);
  CHECK(largest < 24u << 20);
  for (int i = 0; i < 40 && std::filesystem::file_size(log) > 0; ++i) {
    big_message(i);
    REQUIRE(f.store->rest());
  }
  CHECK(std::filesystem::file_size(log) == 0);
}

}  // namespace mailotp::store::test
