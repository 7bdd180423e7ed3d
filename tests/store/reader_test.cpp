#include <algorithm>

#include <catch2/catch.hpp>

#include "store/sqlite_reader.h"
#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using namespace std::chrono_literals;
using core::Errc;
using core::MessageState;

namespace {

std::unique_ptr<SqliteReader> open_reader(const StoreFixture& f) {
  auto reader = SqliteReader::open(f.folder.path());
  REQUIRE(reader);
  return *std::move(reader);
}

// All ids, page by page.
std::vector<core::Id> walk(SqliteReader& reader, const core::OutboxFilter& filter, int limit) {
  std::vector<core::Id> out;
  core::Page page{limit, ""};
  for (int pages = 0; pages < 1000; ++pages) {
    auto found = reader.outbox(filter, page);
    REQUIRE(found);
    REQUIRE(found->items.size() <= static_cast<std::size_t>(limit));
    for (const core::MessageView& m : found->items)
      out.push_back(m.id);
    if (!found->next_cursor) return out;
    page.cursor = *found->next_cursor;
  }
  FAIL("the list has no end");
  return out;
}

// So many more messages like the one there is, but in this state and due then.
void add_messages(const StoreFixture& f, int count, MessageState state, const std::string& due_at,
                  const std::string& created_at = "created_at") {
  Database db(f.database_path());
  const std::string others = db.value(
      "SELECT group_concat(name) FROM pragma_table_info('message') WHERE name NOT IN ('n', 'id', 'state', "
      "'due_at', 'created_at')");
  const std::string number = std::to_string(static_cast<int>(state));
  db.run("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < " + std::to_string(count) +
         ") INSERT INTO message (id, state, due_at, created_at, " + others + ") SELECT randomblob(16), " +
         number + ", " + due_at + ", " + created_at + ", " + others + " FROM message, c WHERE n = 1");
  db.run("INSERT INTO counter VALUES ('messages." + std::string(to_string(state)) + "', " +
         std::to_string(count) + ") ON CONFLICT (name) DO UPDATE SET value = value + excluded.value");
}

// The ids in the state, the newest first, as the table has them.
std::vector<std::string> ids_in(const StoreFixture& f, MessageState state) {
  Database db(f.database_path());
  return db.rows("SELECT lower(hex(id)) FROM message WHERE state = " +
                 std::to_string(static_cast<int>(state)) + " ORDER BY n DESC");
}

std::vector<std::string> as_hex(const std::vector<core::Id>& ids) {
  std::vector<std::string> out;
  for (const core::Id& id : ids) {
    out.push_back(core::to_string(id));
    std::erase(out.back(), '-');
  }
  return out;
}

constexpr int k_many = 10'050;  // more than are sorted

}  // namespace

TEST_CASE("an app sees its own only, an operator all") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  const auto reader = open_reader(f);
  CHECK(reader->challenge("shop", made.id, f.now));
  CHECK(reader->challenge("", made.id, f.now));
  CHECK(reader->challenge("other", made.id, f.now).error().code == Errc::not_found);
  CHECK(reader->challenge("shop", f.ids.next(f.now), f.now).error().code == Errc::not_found);
  CHECK(reader->message("shop", made.message->id));
  CHECK(reader->message("", made.message->id));
  CHECK(reader->message("other", made.message->id).error().code == Errc::not_found);
  CHECK(reader->message("shop", made.id).error().code == Errc::not_found);
  CHECK(reader->outbox_item(made.id).error().code == Errc::not_found);
}

TEST_CASE("a reader sees what is committed while it stays open") {
  StoreFixture f;
  const auto reader = open_reader(f);
  const core::ChallengeView made = f.created();
  CHECK(reader->challenge("shop", made.id, f.now)->state == core::ChallengeState::otp_sent);
  (void)f.challenge_answer(f.cancel_command(made.id));
  CHECK(reader->challenge("shop", made.id, f.now)->state == core::ChallengeState::canceled);
}

TEST_CASE("the outbox is listed newest first, in pages of any size, by every filter") {
  StoreFixture f;
  std::vector<core::Id> all;
  for (int i = 0; i < 9; ++i) {
    core::CreateChallenge command =
        f.create_command(i % 3 == 0 ? "Alice@example.org" : "user" + std::to_string(i) + "@example.org");
    if (i % 2 == 1) command.app = "other";
    // The deadlines run against the order of creation.
    command.terms.ttl = core::Seconds{600 - i};
    all.insert(all.begin(), f.challenge_answer(std::move(command)).challenge.message->id);
  }
  // The last two made have the earliest deadlines: deferred.
  for (const core::Job& job : f.claim(2))
    f.done(f.fact(core::JobNotSent{job.key, core::Stage::connect, "refused", std::nullopt}));
  const auto reader = open_reader(f);
  const int limit = GENERATE(1, 2, 3, 9, 500);
  CHECK(walk(*reader, {}, limit) == all);
  const auto some = [&](auto&& wanted) {
    std::vector<core::Id> out;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (wanted(8 - i)) out.push_back(all[i]);
    }
    return out;
  };
  core::OutboxFilter filter;
  filter.state = MessageState::queued;
  CHECK(walk(*reader, filter, limit) == some([](std::size_t i) { return i < 7; }));
  filter.state = MessageState::deferred;
  CHECK(walk(*reader, filter, limit) == some([](std::size_t i) { return i >= 7; }));
  filter.state = MessageState::relayed;
  CHECK(walk(*reader, filter, limit).empty());
  filter = {};
  filter.recipient = "aLICE@example.org";
  CHECK(walk(*reader, filter, limit) == some([](std::size_t i) { return i % 3 == 0; }));
  filter.app = "shop";
  CHECK(walk(*reader, filter, limit) == some([](std::size_t i) { return i % 6 == 0; }));
  filter.state = MessageState::deferred;
  CHECK(walk(*reader, filter, limit).empty());
  filter = {};
  filter.app = "other";
  CHECK(walk(*reader, filter, limit) == some([](std::size_t i) { return i % 2 == 1; }));
  filter = {};
  filter.relay = "primary";
  CHECK(walk(*reader, filter, limit) == some([](std::size_t i) { return i >= 7; }));
  filter.recipient = "nobody@example.org";
  CHECK(walk(*reader, filter, limit).empty());
}

TEST_CASE("a state that has many is walked by its newest, and each message is seen once") {
  StoreFixture f;
  (void)f.created();
  // The deadlines run against the order of creation, and others stand between.
  add_messages(f, k_many / 2, MessageState::queued, "due_at - i");
  add_messages(f, 700, MessageState::relayed, std::to_string(core::to_unix_ms(core::k_never)));
  add_messages(f, k_many / 2, MessageState::queued, "due_at - 20000 - i");
  const auto reader = open_reader(f);
  core::OutboxFilter filter;
  filter.state = MessageState::queued;
  CHECK(as_hex(walk(*reader, filter, 500)) == ids_in(f, MessageState::queued));
  filter.app = "other";
  CHECK(walk(*reader, filter, 500).empty());
  filter = {};
  filter.state = MessageState::relayed;
  CHECK(as_hex(walk(*reader, filter, 500)) == ids_in(f, MessageState::relayed));
}

TEST_CASE("many of a state below more of another: a page may be empty and lead on") {
  StoreFixture f;
  (void)f.created();
  add_messages(f, k_many, MessageState::queued, "due_at - i");
  add_messages(f, k_many, MessageState::expired, std::to_string(core::to_unix_ms(core::k_never)));
  const auto reader = open_reader(f);
  core::OutboxFilter filter;
  filter.state = MessageState::queued;
  const auto first = reader->outbox(filter, {50, ""});
  REQUIRE(first);
  CHECK(first->items.empty());
  CHECK(first->next_cursor);
  CHECK(as_hex(walk(*reader, filter, 500)) == ids_in(f, MessageState::queued));
  // What has ended is found in the index, however many there are.
  filter.state = MessageState::expired;
  CHECK(reader->outbox(filter, {50, ""})->items.size() == 50);
  CHECK(as_hex(walk(*reader, filter, 500)) == ids_in(f, MessageState::expired));
}

TEST_CASE("a walk goes on where the state has few by then, or many") {
  StoreFixture f;
  (void)f.created();
  add_messages(f, 20, MessageState::queued, "due_at - i");
  const std::vector<std::string> all = ids_in(f, MessageState::queued);
  const auto reader = open_reader(f);
  core::OutboxFilter filter;
  filter.state = MessageState::queued;
  Database db(f.database_path());
  std::vector<core::Id> seen;
  core::Page page{4, ""};
  for (int i = 0; i < 20; ++i) {
    db.run("UPDATE counter SET value = " + std::to_string(i % 2 == 0 ? 21 : k_many) +
           " WHERE name = 'messages.queued'");
    const auto found = reader->outbox(filter, page);
    REQUIRE(found);
    for (const core::MessageView& m : found->items)
      seen.push_back(m.id);
    if (!found->next_cursor) break;
    page.cursor = *found->next_cursor;
  }
  CHECK(as_hex(seen) == all);
}

TEST_CASE("a list that ends with its page has no cursor") {
  StoreFixture f;
  (void)f.created("a@example.org");
  (void)f.created("b@example.org");
  const auto reader = open_reader(f);
  CHECK_FALSE(reader->outbox({}, {2, ""})->next_cursor);
  CHECK(reader->outbox({}, {1, ""})->next_cursor);
}

TEST_CASE("a page asked for wrongly is an error") {
  StoreFixture f;
  const auto reader = open_reader(f);
  for (const char* cursor : {"x", "-1", "0", "1 ", "ffffffffffffffffff"})
    CHECK(reader->outbox({}, {50, cursor}).error().code == Errc::malformed);
  CHECK(reader->outbox({}, {0, ""}).error().code == Errc::invalid);
  CHECK(reader->outbox({}, {501, ""}).error().code == Errc::invalid);
  core::OutboxFilter filter;
  filter.recipient = "not an address";
  CHECK(reader->outbox(filter, {}).error().code == Errc::invalid);
}

TEST_CASE("an item has the events of its message and of its challenge, not those of a sibling") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  f.now += 30s;
  const core::ChallengeView again = f.challenge_answer(f.send_command(made.id)).challenge;
  CHECK(f.events(made.message->id) == "challenge.created,message.queued,message.superseded,challenge.sent");
  CHECK(f.events(again.message->id) == "challenge.created,challenge.sent,message.queued");
  const auto detail = open_reader(f)->outbox_item(made.message->id);
  REQUIRE(detail);
  const core::EventView& first = detail->events[0];
  CHECK(first.challenge == made.id);
  CHECK_FALSE(first.message);
  CHECK(first.app == "shop");
  CHECK(first.actor.kind == core::ActorKind::app);
  CHECK(first.actor.uid == 1000);
  CHECK(first.at == made.created_at);
  CHECK(detail->events[1].seq > first.seq);
  CHECK(detail->events[1].message == made.message->id);
}

TEST_CASE("the statistics know the oldest of each open state") {
  StoreFixture f;
  (void)f.created("a@example.org");
  f.now += 10s;
  (void)f.created("b@example.org");
  f.now += 5s;
  CHECK(f.stats().oldest_seconds.at("queued") == 15);
  CHECK(f.claim(1).size() == 1);
  const core::Stats stats = f.stats();
  CHECK(stats.oldest_seconds.at("sending") == 15);
  CHECK(stats.oldest_seconds.at("queued") == 5);
  CHECK(stats.messages.at("queued") == 1);
  CHECK(stats.messages.at("sending") == 1);
  CHECK(stats.challenges.at("otp_sent") == 2);
}

TEST_CASE("of many the oldest is that of those whose deadlines come first") {
  StoreFixture f;
  (void)f.created();
  // Later deadlines, and older.
  add_messages(f, 4'999, MessageState::queued, "due_at + i", "created_at - 5000");
  CHECK(f.stats().oldest_seconds.at("queued") == 0);  // the row that came first is the oldest
  { Database(f.database_path()).run("UPDATE message SET due_at = due_at + 100000 WHERE n = 1"); }
  CHECK(f.stats().oldest_seconds.at("queued") == 0);
  add_messages(f, 1, MessageState::queued, "due_at - 100000", "created_at - 5000");
  CHECK(f.stats().oldest_seconds.at("queued") == 5);  // 5,001: the one that is due last is not seen
}

TEST_CASE("a reader needs a database") {
  const TemporaryFolder folder;
  CHECK(SqliteReader::open(folder.path()).error().code == Errc::io);
}

}  // namespace mailotp::store::test
