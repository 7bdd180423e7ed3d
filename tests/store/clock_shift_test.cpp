// The wall clock was set (row 53 of docs/RELIABILITY.md): what is still to come moves with it, what has been
// stays.
#include <catch2/catch.hpp>

#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using core::Millis;

TEST_CASE("row 53: a shift moves what is to come, and nothing else") {
  const Millis by = GENERATE(Millis{3'600'000}, Millis{-3'600'000});
  StoreFixture f;
  const core::ChallengeView open = f.created("open@example.org");
  const core::ChallengeView ended = f.created("ended@example.org");
  (void)f.challenge_answer(f.cancel_command(ended.id));
  const core::ChallengeView deferred = f.created("deferred@example.org");
  for (const core::Job& job : f.claim(10)) {
    if (job.recipient == "deferred@example.org")
      f.done(f.fact(core::JobRefused{job.key, core::Stage::rcpt, {451, "4.3.0", "busy"}}));
  }
  const core::MessageView before = f.message_view(deferred.message->id);
  REQUIRE(before.next_attempt_at);
  f.done(core::ShiftClock{f.now, by, {"boot", Millis{77}}});
  f.now += by;

  const core::ChallengeView moved = f.view(open.id);
  CHECK(moved.expires_at == open.expires_at + by);
  CHECK(moved.resend_at == *open.resend_at + by);
  CHECK(moved.created_at == open.created_at);
  CHECK(f.view(ended.id).expires_at == ended.expires_at);
  const core::MessageView after = f.message_view(deferred.message->id);
  CHECK(after.not_after == before.not_after + by);
  CHECK(after.next_attempt_at == *before.next_attempt_at + by);
  CHECK(after.created_at == before.created_at);

  // Nothing has expired and nothing waits longer: the retry comes a second later, as it would have.
  f.done(core::Sweep{f.now});
  CHECK(f.message_view(deferred.message->id).state == core::MessageState::deferred);
  f.now += Millis{1500};
  f.done(core::Sweep{f.now});
  CHECK(f.message_view(deferred.message->id).state == core::MessageState::queued);
  CHECK(f.view(open.id).state == core::ChallengeState::otp_sent);
  const auto saved = f.store->saved_clock();
  REQUIRE(saved);
  REQUIRE(*saved);
  CHECK((*saved)->boot == "boot");
  CHECK((*saved)->offset == Millis{77});
}

TEST_CASE(
    "row 53: what waits for nothing more does not get a time, and slots of a relay's rate move as they are") {
  StoreFixture f;
  (void)f.created();
  Database db(f.database_path());
  db.run("UPDATE message SET state = 3, due_at = " + std::to_string(core::to_unix_ms(core::k_never)));
  db.run(
      "INSERT INTO relay_use (relay, period, slot, used) VALUES ('a', 60000, 100, 1), ('a', 60000, 103, 2), "
      "('a', 60000, 106, 3), ('b', 1, 100, 4)");
  f.done(core::ShiftClock{f.now, Millis{3600}, {"boot", Millis{0}}});
  CHECK(db.value("SELECT due_at FROM message") == std::to_string(core::to_unix_ms(core::k_never)));
  CHECK(db.rows("SELECT relay, slot, used FROM relay_use ORDER BY relay, slot") ==
        std::vector<std::string>{"a|103|1", "a|106|2", "a|109|3", "b|3700|4"});
  f.done(core::ShiftClock{f.now, Millis{-3600}, {"boot", Millis{0}}});
  CHECK(db.value("SELECT min(slot) FROM relay_use") == "100");
}

}  // namespace mailotp::store::test
