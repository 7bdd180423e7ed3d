// The timeline of a recipient, a challenge and a message, and the refusals that are noted for it.
#include <catch2/catch.hpp>

#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using namespace std::chrono_literals;

namespace {

std::vector<std::string> types(const core::PageOf<core::TimelineItem>& page) {
  std::vector<std::string> out;
  for (const core::TimelineItem& item : page.items)
    out.push_back(item.event.type);
  return out;
}

core::TimelineFilter of_recipient(std::string recipient) {
  core::TimelineFilter filter;
  filter.recipient = std::move(recipient);
  return filter;
}

core::NoteRefusal refusal_for(const StoreFixture& f, std::string_view recipient) {
  core::NoteRefusal refusal;
  refusal.at = f.now;
  refusal.app = "shop";
  refusal.purpose = "login";
  refusal.recipient = *core::parse_address(recipient);
  refusal.code = "rate_limited";
  refusal.limit = core::Limit{"recipient_sends", 3, core::Seconds{900}, f.now + 60s};
  refusal.times = 7;
  refusal.actor = {core::ActorKind::app, 1000};
  return refusal;
}

}  // namespace

TEST_CASE("a timeline has what happened to a recipient and to nobody else, oldest first") {
  StoreFixture f;
  const auto reader = reader_of(f);
  const core::ChallengeView made = f.created();
  (void)f.created("bob@example.org");
  f.now += 30s;
  (void)f.challenge_answer(f.send_command(made.id));
  f.done(refusal_for(f, "Alice@EXAMPLE.org"));
  const std::vector<std::string> all{"challenge.created", "message.queued", "message.superseded",
                                     "challenge.sent",    "message.queued", "recipient.refused"};
  const auto page = *reader->timeline(of_recipient("alice@example.org"), {});
  CHECK(types(page) == all);
  CHECK_FALSE(page.next_cursor);
  for (const core::TimelineItem& item : page.items) {
    if (item.event.challenge) CHECK(item.event.challenge == made.id);
  }
  CHECK(page.items[1].template_name == "otp");
  CHECK_FALSE(page.items[1].template_version.empty());
  CHECK(page.items[5].event.detail.find(R"("limit":"recipient_sends","max":3,"period_seconds":900)") !=
        std::string::npos);
  CHECK(page.items[5].event.detail.find(R"("times":7)") != std::string::npos);

  // Page by page it is the same.
  std::vector<std::string> paged;
  core::Page one;
  one.limit = 1;
  do {
    const auto next = *reader->timeline(of_recipient("ALICE@example.org"), one);
    for (const std::string& type : types(next))
      paged.push_back(type);
    one.cursor = next.next_cursor.value_or("");
  } while (!one.cursor.empty());
  CHECK(paged == all);
}

TEST_CASE("a timeline of a challenge has all its messages, one of a message only its own") {
  StoreFixture f;
  const auto reader = reader_of(f);
  const core::ChallengeView made = f.created();
  f.now += 30s;
  const core::ChallengeView resent = f.challenge_answer(f.send_command(made.id)).challenge;
  core::NoteRefusal refusal = refusal_for(f, "alice@example.org");
  refusal.challenge = made.id;
  f.done(std::move(refusal));
  core::TimelineFilter filter;
  filter.challenge = made.id;
  CHECK(reader->timeline(filter, {})->items.size() == 6);
  filter.challenge.reset();
  filter.message = resent.message->id;
  CHECK(types(*reader->timeline(filter, {})) == std::vector<std::string>{"challenge.created",
                                                                         "challenge.sent", "message.queued",
                                                                         "recipient.refused"});
  filter.message = f.ids.next(f.now);
  CHECK(reader->timeline(filter, {}).error().code == core::Errc::not_found);
  filter.message.reset();
  filter.challenge = f.ids.next(f.now);
  CHECK(reader->timeline(filter, {}).error().code == core::Errc::not_found);
  CHECK(reader->timeline(of_recipient("nobody@example.org"), {})->items.empty());
}

TEST_CASE("an operator's suppression is in the timeline of its address") {
  StoreFixture f;
  const auto reader = reader_of(f);
  core::PutSuppression put;
  put.at = f.now;
  put.address = *core::parse_address("alice@example.org");
  put.actor = {core::ActorKind::operator_, 0};
  REQUIRE(std::holds_alternative<core::SuppressionAnswer>(*f.run(put)));
  core::DropSuppression drop;
  drop.at = f.now;
  drop.address = put.address;
  f.done(drop);
  CHECK(types(*reader->timeline(of_recipient("alice@example.org"), {})) ==
        std::vector<std::string>{"recipient.suppressed", "recipient.healed"});
}

TEST_CASE("what was noted of a recipient goes with its erasure, and its row with the last event") {
  StoreFixture f;
  const auto reader = reader_of(f);
  f.done(refusal_for(f, "alice@example.org"));
  Database db(f.database_path());
  REQUIRE(db.value("SELECT count(*) FROM recipient") == "1");
  SECTION("erased") {
    core::Erase erase;
    erase.at = f.now;
    erase.address = *core::parse_address("alice@example.org");
    REQUIRE(std::holds_alternative<core::Erased>(*f.run(erase)));
    CHECK(db.value(
              "SELECT count(*) FROM event WHERE recipient IS NOT NULL OR detail LIKE '%recipient_sends%'") ==
          "0");
  }
  SECTION("purged") {
    (void)f.created();  // the newest event stays
    f.now += 91 * 24h;
    for (int step = 0; step < 3; ++step)
      (void)f.run(core::Purge{f.now, 200});
    CHECK(db.value("SELECT count(*) FROM event WHERE recipient IS NOT NULL") == "0");
    CHECK(db.value(
              "SELECT count(*) FROM recipient WHERE key = 'alice@example.org' AND NOT EXISTS (SELECT 1 FROM "
              "challenge WHERE recipient = recipient.id)") == "0");
    return;
  }
  CHECK(db.value("SELECT count(*) FROM recipient") == "0");
  CHECK(reader->timeline(of_recipient("alice@example.org"), {})->items.empty());
}

}  // namespace mailotp::store::test
