// The outbox machine as tables: every state, every event, before and after its deadline.
#include <algorithm>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "core/outbox.h"
#include "tests/core/outbox_rows.h"

namespace mailotp::core {
namespace {

using test::in_force;
using test::k_now;
using test::reply;
using test::resting_row;
using test::row_in;
using test::run;

using State = MessageState;

struct Column {
  std::string name;
  MessageEvent event;
};

Verdict bounce() {
  Verdict verdict;
  verdict.kind = VerdictKind::undeliverable;
  verdict.verdict_class = "user-unknown";
  verdict.source = VerdictSource::dsn;
  return verdict;
}

std::vector<Column> columns() {
  return {
      {"claim", Claim{"two"}},
      {"dotnext", JobDotNext{in_force()}},
      {"relayed", JobRelayed{in_force(), reply(250)}},
      {"ref4yz", JobRefused{in_force(), Stage::rcpt, reply(452)}},
      {"ref5yz", JobRefused{in_force(), Stage::rcpt, reply(550, "5.1.1")}},
      {"notsent", JobNotSent{in_force(), Stage::connect, "refused", {}}},
      {"uncert", JobUncertain{in_force(), "cut"}},
      {"lost", AgentLost{.dot_possible = false}},
      {"lostdot", AgentLost{.dot_possible = true}},
      {"orphan", Orphaned{}},
      {"due", Due{}},
      {"superse", Supersede{}},
      {"endexp", EndWithChallenge{.expired = true}},
      {"endcan", EndWithChallenge{.expired = false}},
      {"hold", Hold{}},
      {"release", Release{}},
      {"retry", Retry{}},
      {"cancel", Cancel{}},
      {"success", SuccessDsn{}},
      {"failure", FailureDsn{bounce()}},
      {"delay", DelayDsn{bounce()}},
      {"norelay", NoRelay{}},
      {"relback", RelayBack{}},
      {"suppress", Suppress{bounce()}},
  };
}

// A cell is the state that follows, "+e" when the content is erased; or what was refused:
// n not_now, c closed, s stale; or "-": nothing to save and nothing refused.
const std::map<State, std::string> k_letters{
    {State::queued, "Q"},     {State::sending, "S"}, {State::deferred, "D"},   {State::uncertain, "U"},
    {State::held, "H"},       {State::relayed, "R"}, {State::delivered, "V"},  {State::bounced, "B"},
    {State::failed, "F"},     {State::expired, "X"}, {State::superseded, "P"}, {State::canceled, "C"},
    {State::suppressed, "Z"},
};

std::string cell_of(const MessageRow& row, const MessageStep& got) {
  if (!got.changed) {
    CHECK(got.row == row);
    CHECK_FALSE(got.erase_content);
    switch (got.refusal) {
      case MessageRefusal::none:
        return "-";
      case MessageRefusal::stale:
        return "s";
      case MessageRefusal::closed:
        return "c";
      case MessageRefusal::not_now:
        return "n";
    }
  }
  CHECK(got.refusal == MessageRefusal::none);
  return k_letters.at(got.row.state) + (got.erase_content ? "+e" : "");
}

struct Line {
  std::string name;
  MessageRow row;
};

std::vector<Line> lines() {
  std::vector<Line> all;
  for (int s = 0; s < k_message_states; ++s)
    all.push_back({std::string(to_string(static_cast<State>(s))), row_in(static_cast<State>(s))});
  all.push_back({"resting", resting_row()});
  // An earlier copy may have left, and another attempt waits.
  for (const State state : {State::queued, State::deferred, State::held}) {
    MessageRow row = row_in(state);
    row.uncertain = 1;
    all.push_back({std::string(to_string(state)) + "*", row});
  }
  return all;
}

void check_table(const std::string& table, WallTime now) {
  const auto events = columns();
  std::map<std::string, std::vector<std::string>> expected;
  std::istringstream text(table);
  for (std::string line; std::getline(text, line);) {
    std::istringstream words(line);
    std::string name;
    if (!(words >> name) || name == events.front().name) continue;
    for (std::string word; words >> word;)
      expected[name].push_back(word);
  }
  REQUIRE(expected.size() == lines().size());
  for (const Line& line : lines()) {
    CAPTURE(line.name);
    REQUIRE(expected.at(line.name).size() == events.size());
    for (std::size_t i = 0; i < events.size(); ++i) {
      CAPTURE(events[i].name);
      CHECK(cell_of(line.row, run(line.row, events[i].event, now)) == expected.at(line.name)[i]);
    }
  }
}

TEST_CASE("every event alternative has its column") {
  std::vector<bool> seen(std::variant_size_v<MessageEvent>);
  for (const Column& column : columns())
    seen[column.event.index()] = true;
  CHECK(std::find(seen.begin(), seen.end(), false) == seen.end());
}

TEST_CASE("every state and event of a message that has time left") {
  check_table(R"(
            claim dot rlyd 4yz  5yz  nots unct lost ldot orph due  sups endx endc hold rele retr canc succ fail dely nore back supp
queued      S    s    s    s    s    s    s    n    n    n    n    P+e  X+e  C+e  H    n    n    C+e  n    n    n    D    n    Z+e
sending     n    -    R+e  D    F+e  D    U    Q    U    U    n    S    S    S    n    n    n    S    V+e  B+e  R+e  n    n    S
deferred    n    s    s    s    s    s    s    n    n    n    Q    P+e  X+e  C+e  H    n    Q    C+e  n    n    n    n    n    Z+e
uncertain   n    s    s    s    s    s    s    n    n    n    Q    U+e  U+e  U+e  H    n    Q    U+e  V+e  B+e  R+e  n    n    U+e
held        n    s    s    s    s    s    s    n    n    n    n    P+e  X+e  C+e  n    Q    Q    C+e  n    n    n    n    n    Z+e
relayed     c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    V    B    R    c    c    c
delivered   c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    c    B    c    c    c    c
bounced     c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c
failed      c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c
expired     c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c
superseded  c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c
canceled    c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c
suppressed  c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c
resting     c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    V    B    R    c    c    c
queued*     S    s    s    s    s    s    s    n    n    n    n    U+e  U+e  U+e  H    n    n    U+e  V+e  B+e  R+e  D    n    U+e
deferred*   n    s    s    s    s    s    s    n    n    n    Q    U+e  U+e  U+e  H    n    Q    U+e  V+e  B+e  R+e  n    n    U+e
held*       n    s    s    s    s    s    s    n    n    n    n    U+e  U+e  U+e  n    Q    Q    U+e  V+e  B+e  R+e  n    n    U+e
)",
              k_now);
}

TEST_CASE("every state and event of a message whose deadline has come") {
  const std::string late = R"(
            claim dot rlyd 4yz  5yz  nots unct lost ldot orph due  sups endx endc hold rele retr canc succ fail dely nore back supp
queued      X+e  s    s    s    s    s    s    n    n    n    X+e  P+e  X+e  C+e  H    n    n    C+e  n    n    n    X+e  n    Z+e
sending     n    -    R+e  X+e  F+e  X+e  U+e  X+e  U+e  U+e  n    S    S    S    n    n    n    S    V+e  B+e  R+e  n    n    S
deferred    n    s    s    s    s    s    s    n    n    n    X+e  P+e  X+e  C+e  H    n    X+e  C+e  n    n    n    n    n    Z+e
uncertain   n    s    s    s    s    s    s    n    n    n    U+e  U+e  U+e  U+e  H    n    U+e  U+e  V+e  B+e  R+e  n    n    U+e
held        n    s    s    s    s    s    s    n    n    n    X+e  P+e  X+e  C+e  n    X+e  X+e  C+e  n    n    n    n    n    Z+e
relayed     c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    V    B    R    c    c    c
delivered   c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    c    B    c    c    c    c
bounced     c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c
failed      c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c
expired     c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c
superseded  c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c
canceled    c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c
suppressed  c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c    c
resting     c    s    s    s    s    s    s    c    c    c    c    c    c    c    c    c    c    c    V    B    R    c    c    c
queued*     U+e  s    s    s    s    s    s    n    n    n    U+e  U+e  U+e  U+e  H    n    n    U+e  V+e  B+e  R+e  U+e  n    U+e
deferred*   n    s    s    s    s    s    s    n    n    n    U+e  U+e  U+e  U+e  H    n    U+e  U+e  V+e  B+e  R+e  n    n    U+e
held*       n    s    s    s    s    s    s    n    n    n    U+e  U+e  U+e  U+e  n    U+e  U+e  U+e  V+e  B+e  R+e  n    n    U+e
)";
  const WallTime not_after = k_now + test::k_life;
  check_table(late, not_after);
  check_table(late, not_after + Millis{1});
  check_table(late, not_after + std::chrono::hours{1000});
}

TEST_CASE("an agent's fact counts only with the attempt in force, in every state") {
  for (const std::uint32_t attempt : {0U, 1U, test::k_attempt - 1, test::k_attempt + 1, 0xffffffffU}) {
    const AttemptKey key{Id{}, attempt};
    for (const MessageEvent& fact : std::vector<MessageEvent>{
             JobDotNext{key}, JobRelayed{key, reply(250)}, JobRefused{key, Stage::dot, reply(550)},
             JobRefused{key, Stage::rcpt, reply(450, "4.7.1")}, JobRefused{key, Stage::dot, reply(354)},
             JobNotSent{key, Stage::local, "gone", {}}, JobUncertain{key, "cut"}}) {
      for (const Line& line : lines()) {
        CAPTURE(attempt, fact.index(), line.name);
        for (const WallTime now : {k_now, line.row.not_after})
          CHECK(cell_of(line.row, run(line.row, fact, now)) == "s");
      }
    }
  }
}

}  // namespace
}  // namespace mailotp::core
