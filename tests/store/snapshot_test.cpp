// A snapshot of a store in use, and the first start on it.
#include "core/snapshot.h"

#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "store/migrations.h"
#include "store/snapshot.h"
#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using core::ChallengeState;
using core::Errc;
using core::MessageState;
using namespace std::chrono_literals;

namespace {

bool wanted() {
  return true;
}

Snapshot taken(const StoreFixture& f) {
  auto out = Snapshot::take(f.folder.path(), 0, wanted);
  if (!out) FAIL(out.error().what);
  return *std::move(out);
}

std::string bytes_of(const Snapshot& snapshot, std::size_t piece) {
  std::string out;
  for (;;) {
    const auto read = snapshot.read(out.size(), piece);
    REQUIRE(read);
    if (read->empty()) return out;
    out += *read;
  }
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// Another folder with the snapshot for a database; not opened yet.
void put_into(StoreFixture& to, const Snapshot& snapshot) {
  to.close();
  std::filesystem::remove(to.database_path());
  std::filesystem::remove(to.folder.path() + "/mailotpd.lock");
  write_file(to.database_path(), bytes_of(snapshot, 64UL << 10));
}

core::Recovered recovered(StoreFixture& f) {
  auto opened = SqliteStore::open({f.folder.path(), key_ring({'k'}), f.policy, "bounces@example.org", 1000,
                                   f.composer, f.random, f.tokens, 0, 0});
  if (!opened) FAIL(opened.error().what);
  f.store = *std::move(opened);
  auto out = f.store->recover(f.now);
  if (!out) FAIL(out.error().what);
  return *std::move(out);
}

void fill(StoreFixture& f, int challenges) {
  std::vector<core::Command> batch;
  for (int i = 0; i < challenges; ++i)
    batch.emplace_back(f.create_command("a" + std::to_string(i) + "@example.org"));
  for (const core::Outcome& outcome : f.commit(std::move(batch)).outcomes)
    REQUIRE(outcome);
}

core::CreateMessage templated_command(StoreFixture& f, const std::string& mailbox) {
  core::CreateMessage command;
  command.at = f.now;
  command.id = f.ids.next(f.now);
  command.app = "shop";
  command.recipient = *core::parse_address(mailbox);
  command.template_name = "welcome";
  command.not_after = f.now + 5 * 24h;
  command.mail = core::ComposedMail{core::Secret("Subject: Welcome\r\n\r\nHello\r\n"), "<1@test>",
                                    "0123456789abcdef", "de"};
  return command;
}

core::Id templated(StoreFixture& f, const std::string& mailbox) {
  core::CreateMessage command = templated_command(f, mailbox);
  const core::Id id = command.id;
  REQUIRE(f.run(std::move(command)));
  return id;
}

}  // namespace

TEST_CASE("a snapshot is a whole database of its own, private, marked, and has no name") {
  StoreFixture f;
  (void)f.created();
  const Snapshot snapshot = taken(f);
  CHECK_FALSE(std::filesystem::exists(f.folder.path() + "/mailotpd.snapshot"));
  const std::string bytes = bytes_of(snapshot, 1000);
  CHECK(bytes.size() == snapshot.size());
  CHECK(bytes == bytes_of(snapshot, 1UL << 20));
  const auto header = core::read_database_header(bytes);
  REQUIRE(header);
  CHECK(header->application_id == core::k_snapshot_id);
  CHECK(header->bytes == bytes.size());
  CHECK_FALSE(header->may_have_log);
  // What is sealed stays so.
  CHECK(bytes.find(k_body_marker) == std::string::npos);
  const std::string copy = f.folder.path() + "/copy.db";
  write_file(copy, bytes);
  Database there(copy);
  CHECK(there.value("PRAGMA integrity_check") == "ok");
  Database here(f.database_path());
  CHECK(there.dump() == here.dump());
  CHECK(here.value("PRAGMA application_id") == std::to_string(core::k_database_id));
}

TEST_CASE("a snapshot is of one moment: what is committed while it is taken is not in it") {
  StoreFixture f;
  fill(f, 200);
  int later = 0;
  // A commit inside the copy, more than once, and none of them waits for it.
  const auto snapshot = Snapshot::take(f.folder.path(), 0, [&] {
    if (later < 3) (void)f.created("later" + std::to_string(later++) + "@example.org");
    return true;
  });
  REQUIRE(snapshot);
  REQUIRE(later == 3);
  const std::string copy = f.folder.path() + "/copy.db";
  write_file(copy, bytes_of(*snapshot, 1UL << 20));
  Database there(copy);
  CHECK(there.value("PRAGMA integrity_check") == "ok");
  CHECK(there.value("SELECT count(*) FROM message") == "200");
  CHECK(there.value("SELECT value FROM counter WHERE name = 'accepted_total'") ==
        there.value("SELECT count(*) FROM message"));
  CHECK(f.stats().accepted_total == 203);
}

TEST_CASE("a snapshot that nobody wants any more ends soon and leaves nothing") {
  StoreFixture f;
  fill(f, 300);
  int asked = 0;
  const auto snapshot = Snapshot::take(f.folder.path(), 0, [&] { return ++asked < 2; });
  REQUIRE_FALSE(snapshot);
  CHECK(snapshot.error().code == Errc::unavailable);
  CHECK_FALSE(std::filesystem::exists(f.folder.path() + "/mailotpd.snapshot"));
  CHECK(taken(f).size() > 0);
}

TEST_CASE("where there is no room no snapshot is begun, and it says how much is missing") {
  StoreFixture f;
  const auto snapshot = Snapshot::take(f.folder.path(), INT64_MAX / 2, wanted);
  REQUIRE_FALSE(snapshot);
  CHECK(snapshot.error().code == Errc::no_space);
  CHECK(snapshot.error().what.find("MiB of the disk are free") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(f.folder.path() + "/mailotpd.snapshot"));
}

TEST_CASE("what a killed process has left of a snapshot goes at the next start, and at the next snapshot") {
  StoreFixture f;
  const std::string left = f.folder.path() + "/mailotpd.snapshot";
  write_file(left, "half of one");
  CHECK(taken(f).size() > 100);
  CHECK_FALSE(std::filesystem::exists(left));
  write_file(left, "half of one");
  f.close();
  f.open();
  CHECK_FALSE(std::filesystem::exists(left));
}

TEST_CASE("the first start on a snapshot cancels open challenges and holds unsent messages, once") {
  StoreFixture f;
  // An OTP mail in each state that is not sent, one that left, and the same of mails that are no code.
  const core::ChallengeView queued = f.created("queued@example.org");
  const core::ChallengeView answered = f.created("answered@example.org");
  REQUIRE(f.run(f.check_command(answered.id, f.last_code)));
  const core::Id welcome_held = templated(f, "held@example.org");
  REQUIRE(f.run(core::OrderMessage{f.now, welcome_held, core::MessageOrder::hold, {}}));
  core::CreateChallenge started = f.create_command("started@example.org");
  started.message.reset();
  const core::Id started_id = started.id;
  REQUIRE(f.run(std::move(started)));
  const core::Id welcome_queued = templated(f, "welcome@example.org");
  // In the hands of the agent when the snapshot is taken.
  const auto jobs = f.claim(100);
  REQUIRE(jobs.size() == 2);
  const core::Id welcome_deferred = templated(f, "deferred@example.org");
  const auto more = f.claim(1);
  REQUIRE(more.size() == 1);
  f.done(f.fact(core::JobRefused{more[0].key, core::Stage::rcpt, {451, "4.3.0", "later"}}));
  const core::ChallengeView late = f.created("late@example.org");
  const core::Stats before = f.stats();
  const Snapshot snapshot = taken(f);

  StoreFixture g;
  g.now = f.now + 1s;
  put_into(g, snapshot);
  const core::Recovered first = recovered(g);
  REQUIRE(first.restored);
  CHECK(first.restored->challenges == 3);  // queued, late, started
  CHECK(first.restored->messages == 2);    // one was held already
  CHECK_FALSE(first.more_queued);
  CHECK(g.view(queued.id).state == ChallengeState::canceled);
  CHECK(g.view(late.id).state == ChallengeState::canceled);
  CHECK(g.view(started_id).state == ChallengeState::canceled);
  CHECK(g.view(answered.id).state == ChallengeState::otp_valid);
  // The other daemon was sending it: nobody knows. One that was never handed out ends unsent.
  CHECK(g.message_view(queued.message->id).state == MessageState::uncertain);
  CHECK(g.message_view(late.message->id).state == MessageState::canceled);
  for (const core::Id& id : {welcome_queued, welcome_held, welcome_deferred})
    CHECK(g.message_view(id).state == MessageState::held);
  CHECK(g.events(late.message->id) == "challenge.created,message.queued,message.canceled,challenge.canceled");
  CHECK(g.claim(100).empty());

  // The books agree, and nothing of an ended one is kept.
  const core::Stats after = g.stats();
  CHECK(after.accepted_total == before.accepted_total);
  Database db(g.database_path());
  CHECK(db.value("PRAGMA integrity_check") == "ok");
  CHECK(db.value("SELECT count(*) FROM message_body") == "3");
  CHECK(db.value("SELECT count(*) FROM challenge WHERE code_mac IS NOT NULL OR kept_code IS NOT NULL") ==
        "0");
  CHECK(db.value("SELECT count(*) FROM event WHERE detail LIKE '%the database is a restored backup%'") ==
        "5");
  CHECK(db.value("PRAGMA application_id") == std::to_string(core::k_database_id));

  // A held one can be released, and leaves.
  REQUIRE(g.run(core::OrderMessage{g.now, welcome_queued, core::MessageOrder::release, {}}));
  CHECK(g.claim(100).size() == 1);

  g.close();
  CHECK_FALSE(recovered(g).restored);
}

TEST_CASE("more rows than one step takes are all settled") {
  StoreFixture f;
  f.max_open_messages = 10'000;
  f.close();
  f.open();
  std::vector<core::Command> batch;
  for (int i = 0; i < 2100; ++i)
    batch.emplace_back(f.create_command("a" + std::to_string(i) + "@example.org"));
  for (int i = 0; i < 1001; ++i)
    batch.emplace_back(templated_command(f, "w" + std::to_string(i) + "@example.org"));
  for (const core::Outcome& outcome : f.commit(std::move(batch)).outcomes)
    REQUIRE(outcome);
  const Snapshot snapshot = taken(f);
  put_into(f, snapshot);
  const core::Recovered first = recovered(f);
  REQUIRE(first.restored);
  CHECK(first.restored->challenges == 2100);
  CHECK(first.restored->messages == 1001);
  CHECK(f.claim(100).empty());
}

TEST_CASE("an empty snapshot is one all the same") {
  StoreFixture f;
  put_into(f, taken(f));
  const core::Recovered first = recovered(f);
  REQUIRE(first.restored);
  CHECK(first.restored->challenges + first.restored->messages == 0);
}

TEST_CASE("a start on a snapshot that ends before its commit is no start: the next one is the first") {
  StoreFixture f;
  (void)f.created();
  put_into(f, taken(f));
  {
    auto opened = SqliteStore::open({f.folder.path(), key_ring({'k'}), f.policy, "bounces@example.org", 1000,
                                     f.composer, f.random, f.tokens, 0, 0});
    REQUIRE(opened);  // and no recover()
  }
  CHECK(recovered(f).restored);
}

TEST_CASE("a snapshot does not start on the log of the database that it replaces") {
  StoreFixture f;
  (void)f.created();
  const Snapshot snapshot = taken(f);
  put_into(f, snapshot);
  write_file(f.database_path() + "-wal", std::string(4096, 'x'));
  const auto opened = SqliteStore::open({f.folder.path(), key_ring({'k'}), f.policy, "bounces@example.org",
                                         1000, f.composer, f.random, f.tokens, 0, 0});
  REQUIRE_FALSE(opened);
  CHECK(opened.error().what.find("mailotpd.db-wal belongs to the database") != std::string::npos);
  CHECK(std::filesystem::file_size(f.database_path() + "-wal") == 4096);
  std::filesystem::remove(f.database_path() + "-wal");
  // The lock of a run that was killed says that there must be a log: of the other database.
  write_file(f.folder.path() + "/mailotpd.lock", "1\nopen\n");
  CHECK(recovered(f).restored);
}

TEST_CASE("a snapshot of a newer schema is refused and left as it was") {
  StoreFixture f;
  put_into(f, taken(f));
  Database(f.database_path()).run("PRAGMA user_version = 99");
  const auto opened = SqliteStore::open({f.folder.path(), key_ring({'k'}), f.policy, "bounces@example.org",
                                         1000, f.composer, f.random, f.tokens, 0, 0});
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Errc::unsupported);
  CHECK(Database(f.database_path()).value("PRAGMA application_id") == std::to_string(core::k_snapshot_id));
}

TEST_CASE("a snapshot of an older schema is migrated and still a snapshot") {
  StoreFixture f;
  f.close();
  std::filesystem::remove(f.database_path());
  {
    write_file(f.database_path(), "");
    Database old(f.database_path());
    for (std::size_t i = 0; i < 3; ++i)
      old.run(migrations()[i]);
    old.run("PRAGMA application_id = " + std::to_string(core::k_snapshot_id) + "; PRAGMA user_version = 3");
  }
  CHECK(recovered(f).restored);
}

}  // namespace mailotp::store::test
