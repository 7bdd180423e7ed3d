// Rows and pages that cannot be read (row 51 of docs/RELIABILITY.md): whoever needs one fails, the others go
// on.
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "tests/store/bounce_fixture.h"

namespace mailotp::store::test {

using core::Errc;
using core::MessageState;

namespace {

// Overwrites a page of the closed database; `what` finds it by its rows, so it must be a leaf.
void spoil_page(const std::string& path, int page) {
  const auto size = std::stoul(Database(path).value("PRAGMA page_size"));
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(static_cast<std::size_t>(page - 1) * size));
  file << std::string(size, '\xa5');
  REQUIRE(file.good());
}

// Pages of a table's or index's leaves, in the order of its rows.
std::vector<int> leaves_of(const std::string& path, const std::string& name) {
  std::vector<int> out;
  for (const std::string& row : Database(path).rows("SELECT pageno FROM dbstat WHERE name = '" + name +
                                                    "' AND pagetype = 'leaf' ORDER BY path"))
    out.push_back(std::stoi(row));
  return out;
}

}  // namespace

TEST_CASE("row 51: a message whose row makes no sense is held, and the others are sent") {
  StoreFixture f;
  const core::ChallengeView bad = f.created("bad@example.org");
  const core::ChallengeView good = f.created("good@example.org");
  Database(f.database_path()).run("UPDATE message SET kind = 77 WHERE n = 1");
  SECTION("when it is claimed") {
    const auto jobs = f.claim(10);
    REQUIRE(jobs.size() == 1);
    CHECK(jobs[0].key.message == good.message->id);
    CHECK(f.last.unreadable > 0);
    CHECK(f.stats().messages.at("held") == 1);
    CHECK(Database(f.database_path()).rows("SELECT DISTINCT app FROM event") ==
          std::vector<std::string>{"shop"});
    CHECK(f.claim(10).empty());
    CHECK(f.last.unreadable == 0);
  }
  SECTION("when it is due") {
    f.now += core::Seconds{3600};
    f.done(core::Sweep{f.now});
    CHECK(f.message_view(good.message->id).state == MessageState::expired);
    CHECK(f.last.unreadable > 0);
  }
  // Its own challenge still answers.
  CHECK(f.run(f.cancel_command(good.id)));
  const auto outcome = f.run(f.cancel_command(bad.id));
  CHECK((outcome || outcome.error().code == Errc::corrupt));
}

TEST_CASE("row 51: a suppression whose row makes no sense keeps nothing else from its time") {
  BounceFixture f;
  (void)f.open_mailbox();
  for (const char* mailbox : {"bad@example.org", "good@example.org"}) {
    REQUIRE(f.file(f.about(f.relayed(mailbox).message->id)) == core::MailFate::processed);
    core::CreateChallenge probe = f.create_command(mailbox);
    probe.suppressed = core::SuppressedUse::probe;
    (void)f.challenge_answer(std::move(probe));
    const auto jobs = f.claim(1);
    REQUIRE(jobs.size() == 1);
    f.done(f.fact(core::JobRelayed{jobs[0].key, {250, "2.0.0", "ok"}}));
  }
  const core::ChallengeView other = f.created("other@example.org");
  Database(f.database_path()).run("UPDATE suppression SET class = 77 WHERE n = 1");
  f.now += core::Seconds{3600};
  f.done(core::Sweep{f.now});
  CHECK(f.last.unreadable > 0);
  CHECK_FALSE(f.recipient("good@example.org").suppressed);
  CHECK(f.view(other.id).state == core::ChallengeState::expired);
  // Nobody spins for it.
  f.done(core::Sweep{f.now});
  CHECK(f.last.unreadable == 0);
}

TEST_CASE("row 51: a challenge whose row makes no sense does not keep the others from expiring") {
  StoreFixture f;
  const core::ChallengeView bad = f.created("bad@example.org");
  const core::ChallengeView good = f.created("good@example.org");
  Database(f.database_path()).run("UPDATE challenge SET alphabet = 77 WHERE n = 1");
  CHECK(f.run(f.check_command(bad.id, "x")).error().code == Errc::corrupt);
  f.now += core::Seconds{3600};
  f.done(core::Sweep{f.now});
  CHECK(f.last.unreadable > 0);
  CHECK(f.view(good.id).state == core::ChallengeState::expired);
  CHECK(f.message_view(bad.message->id).state == MessageState::expired);
  // It stays due for ever, but nobody spins for it.
  REQUIRE(f.last.next_due);
  CHECK(*f.last.next_due > f.now);
  // Nor does a steady load put it off: the next sweep comes a second after this one.
  const core::WallTime swept = f.now;
  for (int i = 0; i < 15; ++i) {
    f.now += core::Millis{100};
    (void)f.created("load@example.org");
    REQUIRE(f.last.next_due);
    CHECK(*f.last.next_due == swept + core::Seconds{1});
  }
}

TEST_CASE("row 51: a page that cannot be read fails who needs it, and nobody else") {
  StoreFixture f;
  std::vector<core::ChallengeView> made;
  for (int i = 0; i < 80; ++i)
    made.push_back(f.created("user" + std::to_string(i) + "@example.org"));
  const std::string code = f.last_code;
  const auto jobs = f.claim(79);
  f.close();
  spoil_page(f.database_path(), leaves_of(f.database_path(), "message")[0]);
  f.open();
  std::vector<core::Command> batch;
  batch.emplace_back(f.fact(core::JobRelayed{jobs.front().key, {250, "", "ok"}}));
  batch.emplace_back(f.fact(core::JobRelayed{jobs.back().key, {250, "", "ok"}}));
  batch.emplace_back(f.check_command(made.back().id, code));
  batch.emplace_back(f.create_command("new@example.org"));
  const core::Committed out = f.commit(std::move(batch), 10);
  // The first one's fact is dropped, for it would fail for ever.
  for (const std::size_t i : {0U, 1U, 2U, 3U})
    CHECK(out.outcomes[i]);
  CHECK(out.unreadable > 0);
  std::vector<core::Command> again;
  again.emplace_back(f.fact(core::JobRelayed{jobs.front().key, {250, "", "ok"}}));
  again.emplace_back(core::SettleLost{f.now, jobs.front().key, true});
  const core::Committed dropped = f.commit(std::move(again));
  CHECK(dropped.outcomes[0]);
  CHECK(dropped.outcomes[1]);
  CHECK(dropped.unreadable == 0);
  CHECK(f.message_view(jobs.back().key.message).state == MessageState::relayed);
  CHECK_FALSE(out.error);
  CHECK(out.jobs.size() == 1);  // the new one; the last one's challenge has ended with the check
  f.now += core::Seconds{3600};
  f.done(core::Sweep{f.now});
  CHECK(f.view(made[79].id).state == core::ChallengeState::otp_valid);
  CHECK(f.view(made[70].id).state == core::ChallengeState::expired);
}

TEST_CASE("row 51: a body whose page cannot be read holds its message, and the others are sent") {
  StoreFixture f;
  for (int i = 0; i < 80; ++i)
    (void)f.created("user" + std::to_string(i) + "@example.org");
  f.close();
  spoil_page(f.database_path(), leaves_of(f.database_path(), "message_body")[1]);
  f.open();
  std::size_t sent = 0;
  for (int i = 0; i < 20; ++i)
    sent += f.claim(100).size();
  const auto held = static_cast<std::size_t>(f.stats().messages.at("held"));
  CHECK(held > 0);
  CHECK(sent > 40);
  CHECK(sent + held == 80);
}

TEST_CASE("row 51: after a run that did not end cleanly the newest open rows are looked at") {
  StoreFixture f;
  std::vector<core::ChallengeView> made;
  for (int i = 0; i < 80; ++i)
    made.push_back(f.created("user" + std::to_string(i) + "@example.org"));
  REQUIRE(f.store->rest());
  // As a kill leaves it.
  const TemporaryFolder left;
  for (const char* name : {"mailotpd.db", "mailotpd.db-wal", "mailotpd.lock"})
    std::filesystem::copy_file(f.folder.path() + "/" + name, left.path() + "/" + name);
  const std::string path = left.path() + "/mailotpd.db";
  const auto start = [&]() -> core::Result<core::Recovered> {
    std::ofstream(path + "-wal");  // which a look at the database has moved into it
    auto opened = SqliteStore::open({left.path(), key_ring({'k'}), f.policy, "bounces@example.org", 1000,
                                     f.composer, f.random, f.tokens});
    if (!opened) return tl::unexpected(opened.error());
    return (*opened)->recover(f.now);
  };
  SECTION("a body that does not open is held") {
    Database(path).run("UPDATE message_body SET content = x'00' WHERE n = 7");
    Database(path).run("DELETE FROM message_body WHERE n = 8");
    Database(path).run("UPDATE message SET kind = 9 WHERE n = 9");
    const auto recovered = start();
    REQUIRE(recovered);
    CHECK(recovered->unreadable == 3);
    CHECK(Database(path).value("SELECT count(*) FROM message WHERE state = 4") == "3");
    CHECK(Database(path).value("SELECT count(*) FROM message WHERE state = 0") == "77");
  }
  SECTION("a page that cannot be read refuses the start") {
    spoil_page(path, leaves_of(path, "message")[1]);
    const auto refused = start();
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::corrupt);
    INFO(refused.error().what);
    CHECK(refused.error().what.find("backup") != std::string::npos);
    // And the next one, which must not take the end of this one for a clean one.
    const auto again = start();
    REQUIRE_FALSE(again);
    CHECK(again.error().code == Errc::corrupt);
  }
}

}  // namespace mailotp::store::test
