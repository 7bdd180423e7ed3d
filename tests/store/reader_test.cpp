#include <catch2/catch.hpp>

#include "store/sqlite_reader.h"
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

TEST_CASE("a reader needs a database") {
  const TemporaryFolder folder;
  CHECK(SqliteReader::open(folder.path()).error().code == Errc::io);
}

}  // namespace mailotp::store::test
