// What a step of the outbox machine writes into the row, event by event, and the sequences that lose,
// repeat or revive a message where they are wrong.
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "core/outbox.h"
#include "core/outbox_policy.h"
#include "tests/core/outbox_rows.h"

namespace mailotp::core {
namespace {

using test::holding;
using test::in_force;
using test::k_now;
using test::reply;
using test::resting_row;
using test::row_in;
using test::run;

using State = MessageState;

const Seconds k_second{1};

AttemptKey key_of(const MessageRow& row) {
  return {Id{}, row.attempt};
}

MessageRow claimed(const MessageRow& row, WallTime now = k_now) {
  const MessageStep got = run(row, Claim{"one"}, now);
  REQUIRE(got.row.state == State::sending);
  return got.row;
}

TEST_CASE("a claim takes the next number, which is the fence") {
  const MessageRow row = row_in(State::queued);
  const MessageStep got = run(row, Claim{"two"});
  CHECK(got.row.attempt == row.attempt + 1);
  CHECK(got.row.attempts == row.attempts);
  CHECK(got.row.due_at == k_now);
  CHECK(got.row.relay == "two");
  CHECK(run(got.row, JobRelayed{in_force(), reply(250)}).refusal == MessageRefusal::stale);
  CHECK(run(got.row, JobRelayed{key_of(got.row), reply(250)}).row.state == State::relayed);
}

TEST_CASE("relayed: the try is charged, the reply is kept, nothing is planned, a late 250 counts too") {
  MessageRow row = row_in(State::sending);
  row.verdict = greylisted_verdict(reply(451), k_now);
  for (const WallTime now : {k_now, row.not_after, row.not_after + std::chrono::hours{1}}) {
    const MessageStep got = run(row, JobRelayed{in_force(), reply(250, "2.0.0", "queued as 42")}, now);
    CHECK(got.row.state == State::relayed);
    CHECK(got.row.attempts == row.attempts + 1);
    CHECK(got.row.reply == reply(250, "2.0.0", "queued as 42"));
    CHECK(got.row.due_at == k_never);
    CHECK(got.row.revision == row.revision + 1);
    CHECK_FALSE(got.row.verdict);  // it is no longer late
  }
}

TEST_CASE("refused for good: failed with a verdict, at once") {
  const MessageRow row = row_in(State::sending);
  const MessageStep got = run(row, JobRefused{in_force(), Stage::rcpt, reply(550, "5.1.1", "no such user")});
  CHECK(got.row.state == State::failed);
  CHECK(got.row.attempts == row.attempts + 1);
  REQUIRE(got.row.verdict);
  CHECK(got.row.verdict->verdict_class == "user-unknown");
  CHECK(got.row.verdict->at == k_now);
  CHECK(got.row.reply == reply(550, "5.1.1", "no such user"));
}

TEST_CASE("transient refusals walk the schedule, charged try by charged try") {
  MessageRow row = row_in(State::queued);
  row.attempts = 0;
  row.not_after = k_now + std::chrono::hours{1};
  WallTime now = k_now;
  std::uint32_t tries = 0;
  for (const int pause : {1, 3, 8, 15, 30, 60, 60, 60}) {
    row = claimed(row, now);
    const MessageStep got = run(row, JobRefused{key_of(row), Stage::rcpt, reply(450)}, now);
    CHECK(got.row.state == State::deferred);
    CHECK(got.row.due_at == now + Seconds{pause});
    CHECK(got.row.attempts == ++tries);
    CHECK_FALSE(run(got.row, Due{}, got.row.due_at - Millis{1}).changed);
    row = run(got.row, Due{}, got.row.due_at).row;
    CHECK(row.state == State::queued);
    CHECK(row.due_at == row.not_after);
    now = got.row.due_at;
  }
}

TEST_CASE("faults of the session charge nothing") {
  MessageRow row = row_in(State::sending);
  row.attempt = 4;
  const AttemptKey key = key_of(row);
  std::vector<MessageEvent> faults;
  for (int stage = 1; stage < k_stages; ++stage) {
    if (is_session_stage(static_cast<Stage>(stage)))
      faults.emplace_back(JobNotSent{key, static_cast<Stage>(stage), "trouble", {}});
  }
  faults.emplace_back(JobNotSent{key, Stage::auth, "refused", reply(535)});
  faults.emplace_back(JobNotSent{key, Stage::mail, "closing", reply(421)});
  faults.emplace_back(JobNotSent{key, Stage::rcpt, "closing", reply(421, "4.7.0")});
  faults.emplace_back(JobRefused{key, Stage::greeting, reply(554)});
  faults.emplace_back(JobRefused{key, Stage::mail, reply(421)});
  faults.emplace_back(JobRefused{key, Stage::rcpt, reply(250)});
  faults.emplace_back(JobRefused{key, Stage::dot, reply(421)});
  for (std::size_t i = 0; i < faults.size(); ++i) {
    CAPTURE(i);
    const MessageStep got = run(row, faults[i]);
    CHECK(got.row.state == State::deferred);
    CHECK(got.row.attempts == row.attempts);
    CHECK(got.row.uncertain == 0);
    CHECK(got.row.due_at == k_now + Seconds{15});  // of the fourth claim
    const bool asked_to_wait = got.row.reply && got.row.reply->code == 421;
    CHECK(got.row.waits_for == (asked_to_wait ? WaitsFor::its_time : WaitsFor::relay));
    CHECK_FALSE(got.row.verdict);
    // With another relay it goes there at once, and not back here in this round.
    const MessageStep next = run(row, faults[i], k_now, test::no_jitter(), OtherRelay::usable);
    CHECK(next.row.state == State::queued);
    CHECK(next.row.attempts == row.attempts);
    CHECK(next.row.tried == std::vector<std::string>{"one"});
    CHECK(next.row.revision == row.revision + 1);
  }
}

TEST_CASE("a local fault is nobody's: it waits, charges nothing and blames no relay") {
  const MessageRow row = row_in(State::sending);
  for (const OtherRelay other : {OtherRelay::none, OtherRelay::usable}) {
    const MessageStep got =
        run(row, JobNotSent{in_force(), Stage::local, "no descriptors", {}}, k_now, test::no_jitter(), other);
    CHECK(got.row.state == State::deferred);
    CHECK(got.row.waits_for == WaitsFor::its_time);
    CHECK(got.row.attempts == row.attempts);
    CHECK(got.row.tried.empty());
  }
}

TEST_CASE("a message that waits for a relay is due when one is back, another one is not") {
  MessageRow row = run(row_in(State::sending), JobNotSent{in_force(), Stage::connect, "refused", {}}).row;
  const MessageStep back = run(row, RelayBack{}, k_now + Millis{1});
  CHECK(back.row.state == State::queued);
  row.waits_for = WaitsFor::greylist;
  CHECK_FALSE(run(row, RelayBack{}, k_now + Millis{1}).changed);
  row.waits_for = WaitsFor::relay;
  CHECK(run(row, RelayBack{}, row.not_after).row.state == State::expired);
}

TEST_CASE("a round in which every relay was tried ends in a pause, after which all are asked again") {
  MessageRow row = row_in(State::queued);
  row.tried = {"one", "two"};
  const MessageStep got = run(row, NoRelay{});
  CHECK(got.row.state == State::deferred);
  CHECK(got.row.waits_for == WaitsFor::relay);
  CHECK(got.row.tried.empty());
}

TEST_CASE("a relay's own refusal gives one other relay, once") {
  const MessageRow row = row_in(State::sending);
  const JobRefused policy{in_force(), Stage::mail, reply(550, "5.7.1", "we do not like you")};
  const MessageStep alone = run(row, policy);
  CHECK(alone.row.state == State::failed);
  REQUIRE(alone.row.verdict);
  CHECK(alone.row.verdict->kind == VerdictKind::refused);

  const MessageStep other = run(row, policy, k_now, test::no_jitter(), OtherRelay::usable);
  CHECK(other.row.state == State::queued);
  CHECK(other.row.refused_by == "one");
  CHECK_FALSE(other.erase_content);
  MessageRow second = run(other.row, Claim{"two"}).row;
  const AttemptKey key = key_of(second);

  SECTION("which takes it") {
    const MessageStep got = run(second, JobRelayed{key, reply(250)});
    CHECK(got.row.state == State::relayed);
    CHECK_FALSE(got.row.verdict);
    CHECK(got.row.refused_by.empty());
  }
  SECTION("which refuses it too: failed, with what the second said") {
    const MessageStep got = run(second, JobRefused{key, Stage::dot, reply(554, "5.6.0", "spam")}, k_now,
                                test::no_jitter(), OtherRelay::usable);
    CHECK(got.row.state == State::failed);
    CHECK(got.row.verdict->detail == "spam");
  }
  SECTION("which cannot be reached: the refusal of the first stands") {
    const MessageStep got = run(second, JobNotSent{key, Stage::connect, "refused", {}});
    CHECK(got.row.state == State::failed);
    CHECK(got.row.verdict->detail == "we do not like you");
    CHECK(got.erase_content);
  }
  SECTION("which is gone before it is asked: the same") {
    const MessageStep got = run(other.row, NoRelay{});
    CHECK(got.row.state == State::failed);
    CHECK(got.row.verdict->detail == "we do not like you");
  }
  SECTION("which defers it: it comes again") {
    const MessageStep got = run(second, JobRefused{key, Stage::rcpt, reply(451)});
    CHECK(got.row.state == State::deferred);
    CHECK(got.row.refused_by == "one");
  }
}

TEST_CASE("a refusal of the recipient fails at once, whatever other relays there are") {
  for (const Reply& no : {reply(550, "5.1.1"), reply(552, "5.2.2"), reply(550), reply(553)}) {
    const MessageStep got = run(row_in(State::sending), JobRefused{in_force(), Stage::rcpt, no}, k_now,
                                test::no_jitter(), OtherRelay::usable);
    CHECK(got.row.state == State::failed);
  }
}

TEST_CASE("what was greylisted comes back to the same relay") {
  MessageRow row = row_in(State::sending);
  row.attempts = 0;
  const MessageStep got = run(row, JobRefused{in_force(), Stage::rcpt, reply(450, "4.7.1", "greylisted")});
  CHECK(got.row.waits_for == WaitsFor::greylist);
  const MessageStep due = run(got.row, Due{}, got.row.due_at);
  CHECK(due.row.waits_for == WaitsFor::greylist);  // the choice of the relay sees it
  CHECK(run(due.row, Claim{"one"}, got.row.due_at).row.waits_for == WaitsFor::its_time);
}

TEST_CASE("a repeat is not started in the last seconds, a first attempt is") {
  MessageRow row = row_in(State::queued);
  const WallTime last = row.not_after - k_last_attempt_margin;
  CHECK(run(row, Claim{"one"}, last - Millis{1}).row.state == State::sending);
  CHECK(run(row, Claim{"one"}, last).row.state == State::expired);
  row.attempt = 0;
  CHECK(run(row, Claim{"one"}, row.not_after - Millis{1}).row.state == State::sending);
}

TEST_CASE("fixed: the last planned try was never made") {
  for (const MessageEvent& event : std::vector<MessageEvent>{
           JobRefused{in_force(), Stage::rcpt, reply(450, "4.2.0", "greylisted for 1 hour")},
           JobRefused{in_force(), Stage::rcpt, reply(451)},
           JobNotSent{in_force(), Stage::connect, "refused", {}}}) {
    CAPTURE(event.index());
    MessageRow row = row_in(State::sending);
    row.attempts = 30;
    const WallTime now = row.not_after - Seconds{20};
    const MessageStep planned = run(row, event, now);
    REQUIRE(planned.row.state == State::deferred);
    const MessageStep due = run(planned.row, Due{}, planned.row.due_at);
    CHECK(run(due.row, Claim{"one"}, planned.row.due_at + Millis{900}).row.state == State::sending);
  }
}

TEST_CASE("fixed: a death of the daemon after an uncertainty brought a third copy") {
  const MessageStep first = run(row_in(State::sending), JobUncertain{in_force(), "cut"});
  const WallTime due = first.row.due_at;
  const MessageStep orphan = run(claimed(run(first.row, Due{}, due).row, due), Orphaned{}, due);
  CHECK(orphan.row.state == State::uncertain);
  CHECK(orphan.row.due_at == orphan.row.not_after);
  CHECK_FALSE(orphan.erase_content);
}

TEST_CASE("a relay that asks to come later is not asked again the moment it can be reached") {
  const MessageStep got =
      run(row_in(State::sending), JobNotSent{in_force(), Stage::connect, "closing", reply(421)});
  CHECK(got.row.state == State::deferred);
  CHECK_FALSE(run(got.row, RelayBack{}, k_now + Millis{1}).changed);
}

TEST_CASE("lost in the middle of a message: at once again, then by the schedule") {
  MessageRow row = row_in(State::sending);
  row.attempts = 0;
  for (const int pause : {0, 1, 3, 8}) {
    const MessageStep got = run(row, JobNotSent{in_force(), Stage::body, "cut", {}});
    CHECK(got.row.state == (pause == 0 ? State::queued : State::deferred));
    if (pause > 0) CHECK(got.row.due_at == k_now + Seconds{pause});
    row.attempts = got.row.attempts;
  }
}

TEST_CASE("a template that says so holds what is uncertain") {
  MessageRow row = row_in(State::sending);
  row.on_uncertain = OnUncertain::hold;
  CHECK(run(row, JobUncertain{in_force(), "cut"}).row.state == State::held);
  CHECK(run(row, Orphaned{}).row.state == State::held);
}

TEST_CASE("a message does not pay for the tries that a session cost it") {
  MessageRow row = row_in(State::sending);
  row.attempt = 9;
  row.attempts = 0;
  const MessageStep got = run(row, JobRefused{key_of(row), Stage::rcpt, reply(450)});
  CHECK(got.row.attempts == 1);
  CHECK(got.row.due_at == k_now + k_second);
}

TEST_CASE("an agent that died before the dot charges nothing; a message that it dies of is held") {
  const MessageRow row = row_in(State::sending);
  const MessageStep first = run(row, AgentLost{.dot_possible = false});
  CHECK(first.row.state == State::queued);
  CHECK(first.row.attempts == row.attempts);
  CHECK(first.row.uncertain == 0);
  const MessageRow again = claimed(first.row);
  const MessageStep second = run(again, AgentLost{.dot_possible = false});
  CHECK(second.row.state == State::deferred);
  CHECK(second.row.due_at == k_now + Seconds{15});  // of the fourth claim
  const MessageRow third = claimed(run(second.row, Due{}, second.row.due_at).row, second.row.due_at);
  CHECK(run(third, AgentLost{.dot_possible = false}, second.row.due_at).row.state == State::held);
  CHECK(run(third, AgentLost{.dot_possible = true}, second.row.due_at).row.state == State::held);
  // Anybody who told what became of it clears it.
  CHECK(
      run(third, JobNotSent{key_of(third), Stage::connect, "refused", {}}, second.row.due_at).row.orphaned ==
      0);
}

TEST_CASE("templated mail has a schedule of its own") {
  MessageRow row = row_in(State::sending);
  row.kind = MessageKind::templated;
  row.attempts = 0;
  row.not_after = k_now + std::chrono::hours{120};
  for (const int minutes : {1, 2, 4, 8, 16, 30, 30}) {
    const MessageStep got = run(row, JobRefused{in_force(), Stage::rcpt, reply(450)});
    CHECK(got.row.due_at == k_now + std::chrono::minutes{minutes});
    row.attempts = got.row.attempts;
  }
}

TEST_CASE("not sent within the message's own stages is charged") {
  const MessageRow row = row_in(State::sending);
  for (const Stage stage : {Stage::mail, Stage::rcpt, Stage::data, Stage::body, Stage::dot}) {
    CAPTURE(to_string(stage));
    const MessageStep got = run(row, JobNotSent{in_force(), stage, "cut", {}});
    CHECK(got.row.state == State::deferred);
    CHECK(got.row.attempts == row.attempts + 1);
    CHECK(got.row.reply == Reply{0, "", std::string(to_string(stage)) + ": cut"});
  }
  CHECK(run(row, JobNotSent{in_force(), Stage::rcpt, "cut", reply(451)}).row.reply == reply(451));
}

TEST_CASE("no retry later than five seconds before the deadline, and then the end") {
  const auto four_yz = JobRefused{in_force(), Stage::rcpt, reply(450)};
  MessageRow row = row_in(State::sending);
  row.attempts = 10;  // a minute's pause
  const WallTime last = row.not_after - k_last_plan_margin;
  CHECK(run(row, four_yz, last - Seconds{61}).row.due_at == last - k_second);
  CHECK(run(row, four_yz, last - Seconds{60}).row.due_at == last);
  CHECK(run(row, four_yz, last - Seconds{59}).row.due_at == last);
  CHECK(run(row, four_yz, last - Millis{1}).row.due_at == last);
  const MessageStep got = run(row, four_yz, last);
  CHECK(got.row.state == State::expired);
  REQUIRE(got.row.verdict);
  CHECK(got.row.verdict->kind == VerdictKind::unsent);
}

TEST_CASE("the jitter of a retry stays within its bounds and is drawn for nothing else") {
  DeliveryPolicy policy;
  test::SeededRandom jitter(11);
  const MessageRow row = row_in(State::sending);
  Millis least = std::chrono::hours{1}, most{0};
  for (int i = 0; i < 500; ++i) {
    const MessageStep got = step(row, JobRefused{in_force(), Stage::rcpt, reply(450)}, policy, k_now, jitter);
    least = std::min(least, got.row.due_at - k_now);
    most = std::max(most, got.row.due_at - k_now);
  }
  CHECK(least == Millis{8000 * 80 / 100});
  CHECK(most == Millis{8000 * 120 / 100});
  const int drawn = jitter.fills();
  for (const MessageEvent& event : std::vector<MessageEvent>{
           JobDotNext{in_force()}, JobRelayed{in_force(), reply(250)}, JobUncertain{in_force(), "cut"},
           JobRefused{in_force(), Stage::rcpt, reply(550)},
           JobRefused{in_force(), Stage::rcpt, reply(450, "4.7.1")}, Orphaned{},
           AgentLost{.dot_possible = true}, Supersede{}, Due{}})
    (void)step(row, event, policy, k_now, jitter);
  CHECK(jitter.fills() == drawn);
}

TEST_CASE("greylisted: the hint, else its own schedule") {
  MessageRow row = row_in(State::sending);
  row.attempts = 0;
  row.not_after = k_now + std::chrono::hours{1};
  const auto grey = [](const std::string& text) {
    return JobRefused{in_force(), Stage::rcpt, reply(451, "4.7.1", text)};
  };
  CHECK(run(row, grey("greylisted, come back in 90 seconds")).row.due_at == k_now + Seconds{92});
  for (const int pause : {60, 180, 305, 425, 425}) {
    const MessageStep got = run(row, grey("greylisted"));
    CHECK(got.row.due_at == k_now + Seconds{pause});
    CHECK_FALSE(got.row.verdict);
    row.attempts = got.row.attempts;
  }
}

TEST_CASE("greylisted with no useful time left: delayed verdict at once, and one more try all the same") {
  MessageRow row = row_in(State::sending);
  row.attempts = 0;
  const WallTime last = row.not_after - k_last_plan_margin;
  const auto grey = JobRefused{in_force(), Stage::rcpt, reply(450, "4.2.0", "later")};
  CHECK_FALSE(run(row, grey, last - Seconds{60}).row.verdict);
  const MessageStep got = run(row, grey, last - Seconds{59});
  CHECK(got.row.state == State::deferred);
  CHECK(got.row.due_at == last);
  REQUIRE(got.row.verdict);
  CHECK(got.row.verdict->kind == VerdictKind::delayed);
  CHECK_FALSE(got.row.verdict->permanent);
  CHECK(run(row, grey, last).row.verdict->kind == VerdictKind::unsent);
}

TEST_CASE("uncertain once: repeated after two seconds; twice: only by the operator, and then at rest") {
  MessageRow row = row_in(State::sending);
  MessageStep got = run(row, JobUncertain{in_force(), "cut after the dot"});
  CHECK(got.row.state == State::uncertain);
  CHECK(got.row.uncertain == 1);
  CHECK(got.row.attempts == row.attempts + 1);
  CHECK(got.row.due_at == k_now + Seconds{2});
  CHECK(got.row.reply->text == "uncertain: cut after the dot");
  CHECK_FALSE(run(got.row, Due{}, k_now + Millis{1999}).changed);

  row = claimed(run(got.row, Due{}, k_now + Seconds{2}).row);
  got = run(row, AgentLost{.dot_possible = true});
  CHECK(got.row.state == State::uncertain);
  CHECK(got.row.uncertain == 2);
  CHECK(got.row.due_at == got.row.not_after);
  CHECK_FALSE(got.erase_content);
  CHECK_FALSE(run(got.row, Due{}, got.row.not_after - Millis{1}).changed);
  CHECK(run(got.row, Retry{}).row.state == State::queued);

  const MessageStep rest = run(got.row, Due{}, got.row.not_after);
  CHECK(rest.row.state == State::uncertain);
  CHECK(rest.erase_content);
  CHECK(is_over(rest.row));
}

TEST_CASE("no repeat of an uncertain message in its last seconds") {
  const MessageRow row = row_in(State::sending);
  const WallTime last = row.not_after - k_last_plan_margin;
  const auto cut = JobUncertain{in_force(), "cut"};
  CHECK(run(row, cut, last - Seconds{2}).row.due_at == last);
  CHECK(run(row, cut, last - Millis{1}).row.due_at == last);
  CHECK(run(row, cut, last).row.due_at == row.not_after);
  CHECK(run(row, Orphaned{}, last).row.due_at == row.not_after);
  for (const MessageEvent& event : std::vector<MessageEvent>{cut, Orphaned{}}) {
    const MessageStep got = run(row, event, last + Millis{1});
    CHECK(run(got.row, Due{}, row.not_after - Millis{1}).refusal == MessageRefusal::not_now);
  }
}

TEST_CASE("uncertain with the policy to hold: held, and released only by hand") {
  MessageRow row = row_in(State::sending);
  for (const MessageEvent& event : std::vector<MessageEvent>{JobUncertain{in_force(), "cut"},
                                                             AgentLost{.dot_possible = true}, Orphaned{}}) {
    CAPTURE(event.index());
    const MessageStep got = run(row, event, k_now, holding());
    CHECK(got.row.state == State::held);
    CHECK(got.row.uncertain == 1);
    CHECK_FALSE(got.erase_content);
    CHECK_FALSE(run(got.row, Due{}, row.not_after - Millis{1}, holding()).changed);
    CHECK(run(got.row, Release{}, k_now, holding()).row.state == State::queued);
    const MessageStep late = run(row, event, row.not_after, holding());
    CHECK(late.row.state == State::uncertain);
    CHECK(late.erase_content);
  }
}

TEST_CASE("a reply to the dot that is neither yes nor no is an uncertainty") {
  const MessageRow row = row_in(State::sending);
  for (const int code : {0, 200, 220, 250, 354, 399, 600, 999, -1}) {
    CAPTURE(code);
    const MessageStep got = run(row, JobRefused{in_force(), Stage::dot, reply(code)});
    CHECK(got.row.state == State::uncertain);
    CHECK(got.row.uncertain == 1);
  }
  CHECK(run(row, JobRefused{in_force(), Stage::dot, reply(400)}).row.state == State::deferred);
  CHECK(run(row, JobRefused{in_force(), Stage::dot, reply(599)}).row.state == State::failed);
}

TEST_CASE("found in sending at a start: at once again, again, and the third time held") {
  MessageRow row = row_in(State::sending);
  for (std::uint32_t start = 1; start <= 2; ++start) {
    const MessageStep got = run(row, Orphaned{});
    CHECK(got.row.state == State::uncertain);
    CHECK(got.row.orphaned == start);
    CHECK(got.row.uncertain == start);  // each may have left a copy: each is counted
    CHECK(got.row.due_at == k_now);
    row = claimed(run(got.row, Due{}).row);
  }
  const MessageStep third = run(row, Orphaned{});
  CHECK(third.row.state == State::held);
  CHECK(third.row.orphaned == k_poison_deaths);
  CHECK_FALSE(third.erase_content);
  const MessageStep released = run(third.row, Release{});
  CHECK(released.row.orphaned == 0);
  CHECK(run(claimed(released.row), Orphaned{}).row.state == State::uncertain);
}

TEST_CASE("deaths that found it in sending count only in a row") {
  MessageRow row = row_in(State::sending);
  row.orphaned = 2;
  const AttemptKey key = in_force();
  for (const MessageEvent& event :
       std::vector<MessageEvent>{JobRefused{key, Stage::rcpt, reply(450)},
                                 JobNotSent{key, Stage::connect, "refused", {}}, JobUncertain{key, "cut"}}) {
    CAPTURE(event.index());
    CHECK(run(row, event).row.orphaned == 0);
  }
}

TEST_CASE("fixed: hold revived an uncertain message whose body was gone") {
  const MessageRow row = resting_row();
  for (const MessageEvent& event :
       std::vector<MessageEvent>{Hold{}, Retry{}, Release{}, Cancel{}, Supersede{}}) {
    const MessageStep got = run(row, event);
    CHECK_FALSE(got.changed);
    CHECK(got.refusal == MessageRefusal::closed);
  }
}

TEST_CASE("fixed: release and retry forgot the uncertainties") {
  for (const State state : {State::held, State::uncertain, State::deferred}) {
    MessageRow row = row_in(state);
    row.uncertain = 2;
    row.orphaned = 2;
    const MessageStep got = run(row, Retry{});
    CHECK(got.row.state == State::queued);
    CHECK(got.row.uncertain == 2);
    CHECK(got.row.orphaned == 0);
    CHECK(got.row.due_at == row.not_after);
    CHECK(got.row.revision == row.revision + 1);
  }
}

TEST_CASE("fixed: a message of which a copy may have left ended as unsent, and its bounce found it closed") {
  for (const State state : {State::queued, State::deferred, State::held}) {
    MessageRow row = row_in(state);
    row.uncertain = 1;
    const MessageStep late = run(row, EndWithChallenge{.expired = true});
    REQUIRE(late.row.state == State::uncertain);
    CHECK_FALSE(late.row.verdict);
    CHECK(late.erase_content);
    Verdict verdict;
    verdict.verdict_class = "user-unknown";
    const MessageStep bounced = run(late.row, FailureDsn{verdict});
    CHECK(bounced.row.state == State::bounced);
    CHECK(bounced.row.verdict == verdict);
    CHECK_FALSE(bounced.erase_content);
  }
}

TEST_CASE("a success report for a copy that may have left stops its repeat") {
  MessageRow row = row_in(State::deferred);
  CHECK(run(row, SuccessDsn{}).refusal == MessageRefusal::not_now);
  row.uncertain = 1;
  row.verdict = greylisted_verdict(reply(451), k_now);
  const MessageStep got = run(row, SuccessDsn{});
  CHECK(got.row.state == State::delivered);
  CHECK(got.erase_content);
  CHECK_FALSE(got.row.verdict);
}

TEST_CASE("superseded or canceled while it is being sent: what comes of it counts, no further attempt") {
  for (const MessageEvent& end : std::vector<MessageEvent>{
           Supersede{}, Cancel{}, EndWithChallenge{.expired = true}, EndWithChallenge{.expired = false}}) {
    CAPTURE(end.index());
    const auto* with = std::get_if<EndWithChallenge>(&end);
    const State ends_as = std::holds_alternative<Supersede>(end) ? State::superseded
                          : with != nullptr && with->expired     ? State::expired
                                                                 : State::canceled;
    const MessageStep stop = run(row_in(State::sending), end);
    REQUIRE(stop.row.state == State::sending);
    CHECK(stop.row.not_after == row_in(State::sending).not_after);
    CHECK_FALSE(run(stop.row, end, k_now + k_second).changed);
    const WallTime later = k_now + Millis{20};
    CHECK(run(stop.row, JobRelayed{in_force(), reply(250)}, later).row.state == State::relayed);
    CHECK(run(stop.row, JobRefused{in_force(), Stage::rcpt, reply(550)}, later).row.state == State::failed);
    for (const MessageEvent& fact : std::vector<MessageEvent>{
             JobRefused{in_force(), Stage::rcpt, reply(450)},
             JobRefused{in_force(), Stage::rcpt, reply(450, "4.7.1")},
             JobNotSent{in_force(), Stage::body, "canceled", {}}, AgentLost{.dot_possible = false}}) {
      const MessageStep got = run(stop.row, fact, later);
      CHECK(got.row.state == ends_as);
      CHECK(got.erase_content);
    }
    for (const DeliveryPolicy& policy : {test::no_jitter(), holding()}) {
      for (const MessageEvent& fact : std::vector<MessageEvent>{
               JobUncertain{in_force(), "cut"}, AgentLost{.dot_possible = true}, Orphaned{}}) {
        const MessageStep got = run(stop.row, fact, later, policy);
        CHECK(got.row.state == State::uncertain);
        CHECK(is_over(got.row));
        CHECK(got.erase_content);
      }
    }
  }
}

TEST_CASE("a delay notice changes the verdict and nothing else") {
  const MessageRow row = row_in(State::relayed);
  Verdict delayed;
  delayed.kind = VerdictKind::delayed;
  const MessageStep got = run(row, DelayDsn{delayed});
  MessageRow expected = row;
  expected.verdict = delayed;
  ++expected.revision;
  CHECK(got.row == expected);
  CHECK(run(got.row, SuccessDsn{}).row.verdict == std::nullopt);
}

TEST_CASE("a dead address ends what has not left, and says why") {
  Verdict dead;
  dead.verdict_class = "user-unknown";
  for (const State state : {State::queued, State::deferred, State::held}) {
    const MessageStep got = run(row_in(state), Suppress{dead});
    CHECK(got.row.state == State::suppressed);
    CHECK(got.row.verdict == dead);
    CHECK(got.erase_content);
  }
  // What is being sent may leave; it gets no other attempt.
  const MessageStep stop = run(row_in(State::sending), Suppress{dead});
  REQUIRE(stop.row.state == State::sending);
  CHECK_FALSE(stop.row.verdict);
  CHECK(run(stop.row, JobRelayed{in_force(), reply(250)}).row.state == State::relayed);
  const MessageStep back = run(stop.row, JobRefused{in_force(), Stage::rcpt, reply(450)});
  CHECK(back.row.state == State::suppressed);
  REQUIRE(back.row.verdict);
  CHECK(back.row.verdict->kind == VerdictKind::unsent);
  CHECK(back.row.verdict->source == VerdictSource::policy);
}

TEST_CASE(
    "a report ahead of the agent's fact proves that the relay has it: no repeat, and the fact is stale") {
  Verdict verdict;
  verdict.verdict_class = "user-unknown";
  for (const State state : {State::sending, State::uncertain}) {
    for (const auto& [event, to] :
         std::vector<std::pair<MessageEvent, State>>{{FailureDsn{verdict}, State::bounced},
                                                     {DelayDsn{verdict}, State::relayed},
                                                     {SuccessDsn{}, State::delivered}}) {
      const MessageStep got = run(row_in(state), event);
      CHECK(got.row.state == to);
      CHECK(is_over(got.row));
      CHECK(got.erase_content);
      for (const MessageEvent& fact : std::vector<MessageEvent>{
               JobRelayed{in_force(), reply(250)}, JobRefused{in_force(), Stage::dot, reply(450)},
               JobUncertain{in_force(), "cut"}})
        CHECK(run(got.row, fact).refusal == MessageRefusal::stale);
      CHECK_FALSE(run(got.row, AgentLost{.dot_possible = true}).changed);
      CHECK_FALSE(run(got.row, Due{}).changed);
    }
  }
}

TEST_CASE("expired tells why, with the last reply") {
  const MessageRow row = row_in(State::deferred);
  const MessageStep got = run(row, Due{}, row.not_after);
  REQUIRE(got.row.verdict);
  CHECK(*got.row.verdict == expiry_verdict(row, row.not_after));
}

}  // namespace
}  // namespace mailotp::core
