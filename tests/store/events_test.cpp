// The log of events, as a consumer with a cursor reads it.
#include <catch2/catch.hpp>

#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using namespace std::chrono_literals;

namespace {

std::vector<std::string> types(const core::EventPage& page) {
  std::vector<std::string> out;
  for (const core::EventView& event : page.items)
    out.push_back(event.type);
  return out;
}

}  // namespace

TEST_CASE("events come in the order of the commits, from a cursor on, each with its cause and actor") {
  StoreFixture f;
  const auto reader = reader_of(f);
  CHECK(*reader->newest_event() == 0);
  const core::ChallengeView made = f.created();
  f.now += 30s;
  (void)f.challenge_answer(f.send_command(made.id));
  (void)f.check_answer(f.check_command(made.id, f.last_code));
  const core::EventPage all = *reader->events({});
  CHECK(types(all) == std::vector<std::string>{"challenge.created", "message.queued", "message.superseded",
                                               "challenge.sent", "message.queued", "challenge.checked",
                                               "message.canceled"});
  CHECK_FALSE(all.more);
  CHECK(all.after == *reader->newest_event());
  CHECK(all.items[0].actor.kind == core::ActorKind::app);
  CHECK(all.items[0].actor.uid == 1000);
  CHECK(all.items[0].challenge == made.id);
  CHECK(all.items[6].detail == R"({"challenge":"otp_valid"})");
  for (std::size_t i = 0; i + 1 < all.items.size(); ++i)
    CHECK(all.items[i].seq < all.items[i + 1].seq);

  core::EventFilter rest;
  rest.after = all.items[4].seq;
  rest.limit = 1;
  const core::EventPage next = *reader->events(rest);
  CHECK(types(next) == std::vector<std::string>{"challenge.checked"});
  CHECK(next.more);
  rest.after = all.after;
  CHECK(reader->events(rest)->items.empty());
  rest.after = all.after + 1;
  CHECK(reader->events(rest).error().code == core::Errc::invalid);
}

TEST_CASE("an app reads its own events, past any number of others'") {
  StoreFixture f;
  const auto reader = reader_of(f);
  (void)f.created();
  f.close();
  Database(f.database_path())
      .run(
          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO event "
          "(at, "
          "type, app, actor, uid) SELECT 1, 0, 'other', 0, 0 FROM n");
  f.open();
  REQUIRE(f.store->recover(f.now));
  (void)f.created();
  core::EventFilter own;
  own.app = "shop";
  std::vector<std::string> seen;
  int pages = 0;
  for (bool more = true; more; ++pages) {
    const core::EventPage page = *reader->events(own);
    for (const core::EventView& event : page.items) {
      CHECK(event.app == "shop");
      seen.push_back(event.type);
    }
    own.after = page.after;
    more = page.more;
  }
  CHECK(seen == std::vector<std::string>{"challenge.created", "message.queued", "challenge.created",
                                         "message.queued"});
  CHECK(pages >= 3);  // one call looks at a bounded number
}

TEST_CASE("a cursor stays good when old events are gone") {
  StoreFixture f;
  f.retention.events = 60s;
  f.close();
  f.open();
  REQUIRE(f.store->recover(f.now));
  (void)f.created();
  const auto reader = reader_of(f);
  const std::int64_t cursor = reader->events({})->items[0].seq;
  f.now += 120s;
  (void)f.run(core::Purge{.at = f.now});
  (void)f.created("bob@example.org");
  core::EventFilter rest;
  rest.after = cursor;
  const core::EventPage page = *reader->events(rest);
  CHECK(page.items.size() >= 2);
  CHECK(page.items.back().type == "message.queued");
}

}  // namespace mailotp::store::test
