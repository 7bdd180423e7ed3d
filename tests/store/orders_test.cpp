// What operators order of messages: every state with every order, and the flush.
#include <array>

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using namespace std::chrono_literals;
using core::MessageOrder;
using core::MessageState;

namespace {

constexpr core::Actor k_operator{core::ActorKind::operator_, 4711};

core::OrderMessage ordered(const StoreFixture& f, const core::Id& id, MessageOrder order) {
  return {f.now, id, order, k_operator};
}

core::MessageView answer(StoreFixture& f, const core::Id& id, MessageOrder order) {
  core::Outcome outcome = f.run(ordered(f, id, order));
  REQUIRE(outcome);
  REQUIRE(std::holds_alternative<core::MessageAnswer>(*outcome));
  return std::get<core::MessageAnswer>(*outcome).message;
}

// Those that no relay ends are reached as they are in life; what has ended is written down as such.
core::Id message_in(StoreFixture& f, MessageState state) {
  const core::Id id = f.created().message->id;
  if (state == MessageState::queued) return id;
  if (state == MessageState::held) {
    REQUIRE(answer(f, id, MessageOrder::hold).state == MessageState::held);
    return id;
  }
  const auto jobs = f.claim();
  REQUIRE(jobs.size() == 1);
  if (state == MessageState::deferred)
    f.done(f.fact(core::JobRefused{jobs[0].key, core::Stage::rcpt, {451, "4.3.0", "later"}}));
  if (state == MessageState::uncertain) f.done(f.fact(core::JobUncertain{jobs[0].key, "lost"}));
  if (!is_open(state)) {
    f.done(f.fact(core::JobRelayed{jobs[0].key, {250, "", "ok"}}));
    Database(f.database_path()).run("UPDATE message SET state = " + std::to_string(static_cast<int>(state)));
  }
  REQUIRE(f.message_view(id).state == state);
  return id;
}

enum class Then : std::uint8_t {
  changed,  // with an event and a new revision
  told,     // with an event; what is shown is as before
  as_it_was,
  refused,
};
struct Row {
  MessageState state;
  MessageOrder order;
  Then then;
  MessageState becomes;
};
constexpr std::array k_open_rows{
    Row{MessageState::queued, MessageOrder::retry, Then::as_it_was, MessageState::queued},
    Row{MessageState::queued, MessageOrder::hold, Then::changed, MessageState::held},
    Row{MessageState::queued, MessageOrder::release, Then::as_it_was, MessageState::queued},
    Row{MessageState::queued, MessageOrder::cancel, Then::changed, MessageState::canceled},
    Row{MessageState::sending, MessageOrder::retry, Then::as_it_was, MessageState::sending},
    Row{MessageState::sending, MessageOrder::hold, Then::refused, MessageState::sending},
    Row{MessageState::sending, MessageOrder::release, Then::as_it_was, MessageState::sending},
    Row{MessageState::sending, MessageOrder::cancel, Then::told, MessageState::sending},
    Row{MessageState::deferred, MessageOrder::retry, Then::changed, MessageState::queued},
    Row{MessageState::deferred, MessageOrder::hold, Then::changed, MessageState::held},
    Row{MessageState::deferred, MessageOrder::release, Then::as_it_was, MessageState::deferred},
    Row{MessageState::deferred, MessageOrder::cancel, Then::changed, MessageState::canceled},
    Row{MessageState::uncertain, MessageOrder::retry, Then::changed, MessageState::queued},
    Row{MessageState::uncertain, MessageOrder::hold, Then::changed, MessageState::held},
    Row{MessageState::uncertain, MessageOrder::release, Then::as_it_was, MessageState::uncertain},
    // That it was not sent would be a lie.
    Row{MessageState::uncertain, MessageOrder::cancel, Then::changed, MessageState::uncertain},
    Row{MessageState::held, MessageOrder::retry, Then::changed, MessageState::queued},
    Row{MessageState::held, MessageOrder::hold, Then::as_it_was, MessageState::held},
    Row{MessageState::held, MessageOrder::release, Then::changed, MessageState::queued},
    Row{MessageState::held, MessageOrder::cancel, Then::changed, MessageState::canceled},
};
constexpr std::array k_orders{MessageOrder::retry, MessageOrder::hold, MessageOrder::release,
                              MessageOrder::cancel};

void check_row(const Row& row) {
  CAPTURE(to_string(row.state), to_string(row.order));
  StoreFixture f;
  const core::Id id = message_in(f, row.state);
  Database db(f.database_path());
  const std::string before = db.dump();
  const core::MessageView shown = f.message_view(id);
  f.now += 100ms;
  core::Outcome outcome = f.run(ordered(f, id, row.order));
  REQUIRE(outcome);
  CHECK(f.message_view(id).state == row.becomes);
  if (row.then == Then::refused) {
    REQUIRE(std::holds_alternative<core::Refusal>(*outcome));
    CHECK(std::get<core::Refusal>(*outcome).kind == core::RefusalKind::message_closed);
  } else {
    REQUIRE(std::holds_alternative<core::MessageAnswer>(*outcome));
    const core::MessageView& view = std::get<core::MessageAnswer>(*outcome).message;
    CHECK(view.id == id);
    CHECK(view.state == row.becomes);
    CHECK(view.revision == shown.revision + (row.then == Then::changed ? 1 : 0));
  }
  CHECK(f.last.changes.empty() == (row.then != Then::changed));
  CHECK(f.last.events == (row.then == Then::changed || row.then == Then::told));
  if (row.then == Then::refused || row.then == Then::as_it_was) {
    CHECK(db.dump() == before);
    return;
  }
  CHECK(db.rows("SELECT type - 100, actor, uid, detail FROM event ORDER BY seq DESC LIMIT 1").front() ==
        fmt::format(R"({}|1|4711|{{"order":"{}"}})", static_cast<int>(row.becomes), to_string(row.order)));
  CHECK(db.value("SELECT count(*) FROM message_body") ==
        (row.then == Then::changed && row.order == MessageOrder::cancel ? "0" : "1"));
  const core::Stats stats = f.stats();
  CHECK(stats.messages.at(std::string(to_string(row.becomes))) == 1);
  std::int64_t ended = 0;
  for (const auto& [name, count] : stats.ended_total)
    ended += count;
  CHECK(ended == (is_open(row.becomes) ? 0 : 1));
}

}  // namespace

TEST_CASE("every order on every open message") {
  REQUIRE(k_open_rows.size() == 5 * k_orders.size());
  for (const Row& row : k_open_rows)
    check_row(row);
}

TEST_CASE("no order on a message that has ended") {
  for (int state = static_cast<int>(MessageState::relayed); state < core::k_message_states; ++state) {
    for (const MessageOrder order : k_orders) {
      const auto ended = static_cast<MessageState>(state);
      check_row({ended, order, Then::refused, ended});
    }
  }
}

TEST_CASE("no order on a message that rests uncertain") {
  StoreFixture f;
  const core::Id id = message_in(f, MessageState::uncertain);
  (void)answer(f, id, MessageOrder::cancel);
  for (const MessageOrder order : k_orders)
    CHECK(f.refusal(ordered(f, id, order)).kind == core::RefusalKind::message_closed);
}

TEST_CASE("no order on a message that there is not") {
  StoreFixture f;
  for (const MessageOrder order : k_orders)
    CHECK(f.refusal(ordered(f, f.ids.next(f.now), order)).kind == core::RefusalKind::not_found);
}

TEST_CASE("a held message leaves for nobody, and after its release in the same commit") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  const core::Id id = made.message->id;
  CHECK(answer(f, id, MessageOrder::hold).state == MessageState::held);
  CHECK(f.view(made.id).message->state == MessageState::held);
  CHECK(f.view(made.id).revision > made.revision);
  CHECK(f.claim().empty());
  f.close();
  f.open();
  REQUIRE(f.store->recover(f.now));
  f.done(core::Sweep{f.now + 60s});
  CHECK(f.claim().empty());
  std::vector<core::Command> batch;
  batch.emplace_back(ordered(f, id, MessageOrder::release));
  const core::Committed out = f.commit(std::move(batch), 1);
  REQUIRE(out.jobs.size() == 1);
  CHECK(out.jobs[0].key.message == id);
  CHECK(f.events(id) == "challenge.created,message.queued,message.held,message.queued");
}

TEST_CASE("what was held for too long expires with the order that comes too late") {
  StoreFixture f;
  const auto order = GENERATE(MessageOrder::release, MessageOrder::retry);
  const core::ChallengeView made = f.created();
  (void)answer(f, made.message->id, MessageOrder::hold);
  f.now = made.message->not_after;
  CHECK(answer(f, made.message->id, order).state == MessageState::expired);
}

TEST_CASE("a cancel while it is sent counts when it comes back, and not when it left") {
  StoreFixture f;
  const core::Id id = f.created().message->id;
  const auto jobs = f.claim();
  (void)answer(f, id, MessageOrder::cancel);
  Database db(f.database_path());
  const std::string asked = db.dump();
  (void)answer(f, id, MessageOrder::cancel);
  CHECK(db.dump() == asked);
  const bool left = GENERATE(false, true);
  if (left)
    f.done(f.fact(core::JobRelayed{jobs[0].key, {250, "", "ok"}}));
  else
    f.done(f.fact(core::JobRefused{jobs[0].key, core::Stage::rcpt, {451, "4.3.0", "later"}}));
  CHECK(f.message_view(id).state == (left ? MessageState::relayed : MessageState::canceled));
  CHECK(f.events(id) == std::string("challenge.created,message.queued,message.sending,message.") +
                            (left ? "relayed" : "canceled"));
}

namespace {

// Answers of a flush in steps, to its end.
std::vector<std::int64_t> flushed(StoreFixture& f, int limit) {
  core::FlushOutbox command{f.now, {}, limit, k_operator};
  std::vector<std::int64_t> out;
  for (;;) {
    const core::Outcome outcome = f.run(command);
    REQUIRE(outcome);
    REQUIRE(std::holds_alternative<core::Flushed>(*outcome));
    const auto& step = std::get<core::Flushed>(*outcome);
    out.push_back(step.messages);
    if (!step.next) return out;
    command.after = step.next;
  }
}

// Deferred ones, due at the same moment.
std::vector<core::AttemptKey> deferred(StoreFixture& f, int count) {
  for (int i = 0; i < count; ++i)
    (void)f.created("user" + std::to_string(i) + "@example.org");
  std::vector<core::AttemptKey> keys;
  for (const core::Job& job : f.claim(count)) {
    f.done(f.fact(core::JobRefused{job.key, core::Stage::rcpt, {451, "4.3.0", "later"}}));
    keys.push_back(job.key);
  }
  REQUIRE(f.stats().messages.at("deferred") == count);
  return keys;
}

}  // namespace

TEST_CASE("a flush makes what is deferred due, in steps of bounded size") {
  StoreFixture f;
  const auto keys = deferred(f, 5);
  CHECK(flushed(f, 2) == std::vector<std::int64_t>{2, 2, 1, 0});
  CHECK(f.stats().messages.at("queued") == 5);
  CHECK(f.stats().messages.at("deferred") == 0);
  Database db(f.database_path());
  CHECK(db.value("SELECT count(*) FROM event WHERE actor = 1 AND uid = 4711 AND type = 100") == "5");
  const auto jobs = f.claim();
  REQUIRE(jobs.size() == 5);
  CHECK(jobs[0].key.attempt == 2);
  CHECK(flushed(f, 2) == std::vector<std::int64_t>{0});
}

TEST_CASE("a flush leaves what is held, uncertain, sent or ended") {
  StoreFixture f;
  const auto state = GENERATE(MessageState::queued, MessageState::sending, MessageState::uncertain,
                              MessageState::held, MessageState::relayed);
  (void)message_in(f, state);
  Database db(f.database_path());
  const std::string before = db.dump();
  CHECK(flushed(f, 10) == std::vector<std::int64_t>{0});
  CHECK(db.dump() == before);
}

TEST_CASE("a flush counts only what is to be sent, and expires what is too late") {
  StoreFixture f;
  core::CreateChallenge short_lived = f.create_command();
  short_lived.terms.ttl = 65s;
  const core::Id late = f.challenge_answer(std::move(short_lived)).challenge.message->id;
  (void)f.created("b@example.org");
  for (const core::Job& job : f.claim())
    f.done(f.fact(core::JobNotSent{job.key, core::Stage::local, "no descriptors", std::nullopt}));
  f.now += 6s;
  CHECK(flushed(f, 10) == std::vector<std::int64_t>{1, 0});
  CHECK(f.message_view(late).state == MessageState::expired);
}

// With a relay that refuses again at once the steps of a flush would never end if they began anew.
TEST_CASE("a flush comes to its end though all it makes due is deferred again") {
  StoreFixture f;
  (void)deferred(f, 6);
  core::FlushOutbox command{f.now, {}, 2, k_operator};
  int steps = 0;
  for (bool more = true; more; ++steps) {
    REQUIRE(steps < 50);
    std::vector<core::Command> batch;
    batch.emplace_back(command);
    core::Committed out = f.commit(std::move(batch), 10);
    const auto step = std::get<core::Flushed>(*out.outcomes[0]);
    more = step.next.has_value();
    command.after = step.next;
    f.now += 10ms;
    command.at = f.now;
    for (const core::Job& job : out.jobs)
      f.done(f.fact(core::JobRefused{job.key, core::Stage::rcpt, {451, "4.3.0", "later"}}));
  }
  CHECK(f.stats().messages.at("deferred") == 6);
  CHECK(steps >= 4);
}

}  // namespace mailotp::store::test
