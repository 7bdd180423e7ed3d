// Between store and IMAP agent: nothing is decided before its commit, nothing is lost, nothing told twice.
#include "daemon/app/mailbox_watch.h"

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

using namespace mailotp;

namespace {

struct Lines final : core::Log {
  void write(core::LogLevel level, std::string_view line) override { lines.emplace_back(level, line); }
  [[nodiscard]] int count(std::string_view part) const {
    int found = 0;
    for (const auto& [level, line] : lines)
      if (line.find(part) != std::string::npos) ++found;
    return found;
  }
  std::vector<std::pair<core::LogLevel, std::string>> lines;
};

core::Config with_bounces() {
  core::Config config;
  config.bounces.emplace();
  return config;
}

// The store answers when the test says so; what the agent is told is kept.
struct Fixture {
  Fixture() {
    daemon::MailboxWatch::Links links;
    links.record = [this](core::Command command, daemon::StoreThread::Completion done) {
      commands.emplace_back(std::move(command), std::move(done));
    };
    links.resume = [this](core::MailboxResume order) { resumed.push_back(std::move(order)); };
    links.decide = [this](const core::MailDecided& decided_now) { decided.push_back(decided_now); };
    links.move = [this](const core::MailDecided& moved) { moves.push_back(moved); };
    links.look_at_password = [this] { ++looks; };
    watch.connect(std::move(links));
  }
  // The oldest command, of the type that is expected.
  template <class T>
  T answer(core::Outcome outcome) {
    REQUIRE_FALSE(commands.empty());
    auto [command, done] = std::move(commands.front());
    commands.pop_front();
    REQUIRE(std::holds_alternative<T>(command));
    done(std::move(outcome));
    return std::get<T>(std::move(command));
  }
  void open(std::uint32_t uidvalidity, core::MailboxState state = {}) {
    watch.on_mailbox_event(core::MailboxOpened{uidvalidity, 1, 0});
    CHECK(answer<core::OpenMailbox>(core::Answer{std::move(state)}).uidvalidity == uidvalidity);
  }
  void read(core::MailUid mail) {
    core::MailRead event;
    event.mail = mail;
    watch.on_mailbox_event(std::move(event));
  }
  void file(core::MailUid mail, core::MailFate fate) {
    CHECK(answer<core::RecordMail>(core::Answer{core::MailFiled{mail, fate}}).mail.mail == mail);
  }
  void down(const std::string& step, core::RelayTrouble trouble = core::RelayTrouble::ordinary) {
    watch.on_mailbox_event(core::MailboxFact{false, step, "it said \"no\"", trouble});
  }
  [[nodiscard]] std::string bounces() const { return health.view().bounces; }

  core::Config config = with_bounces();
  Lines log;
  daemon::Health health{config};
  daemon::MailboxWatch watch{health, log};
  std::deque<std::pair<core::Command, daemon::StoreThread::Completion>> commands;
  std::vector<core::MailboxResume> resumed;
  std::vector<core::MailDecided> decided;
  std::vector<core::MailDecided> moves;
  int looks = 0;
};

core::MailboxState state_of(std::uint32_t after, std::vector<core::MailToMove> moves = {},
                            std::uint64_t foreign = 0) {
  return {after, std::move(moves), foreign};
}

}  // namespace

TEST_CASE("mailbox watch: the agent goes on where the store says, with what is still to be moved") {
  Fixture f;
  f.watch.on_mailbox_event(core::MailboxOpened{7, 100, 50});
  CHECK(f.resumed.empty());
  f.answer<core::OpenMailbox>(
      core::Answer{state_of(40, {{38, core::MailFate::processed}, {39, core::MailFate::unrecognised}})});
  REQUIRE(f.resumed.size() == 1);
  CHECK(f.resumed[0].uidvalidity == 7);
  CHECK(f.resumed[0].after_uid == 40);
  REQUIRE(f.resumed[0].moves.size() == 2);
  CHECK(f.resumed[0].moves[1].uid == 39);
  CHECK(f.resumed[0].moves[1].fate == core::MailFate::unrecognised);
  CHECK(f.resumed[0].poison.empty());
}

TEST_CASE("mailbox watch: a mail is decided when its commit has come, not before") {
  Fixture f;
  f.open(7);
  f.read({7, 1});
  f.read({7, 2});
  CHECK(f.decided.empty());
  f.file({7, 1}, core::MailFate::processed);
  REQUIRE(f.decided.size() == 1);
  CHECK(f.decided[0].mail == core::MailUid{7, 1});
  CHECK(f.decided[0].fate == core::MailFate::processed);
  f.file({7, 2}, core::MailFate::leave);
  CHECK(f.decided.at(1).fate == core::MailFate::leave);
  CHECK(f.commands.empty());
}

TEST_CASE("mailbox watch: a mail that cannot be recorded stays where it is, and the next one is read") {
  Fixture f;
  f.open(7);
  f.read({7, 1});
  f.answer<core::RecordMail>(core::fail(core::Errc::corrupt, "a row \"x\""));
  REQUIRE(f.decided.size() == 1);
  CHECK(f.decided[0].fate == core::MailFate::leave);
  CHECK(f.log.count("event=mail_not_recorded uidvalidity=7 uid=1 what=\"a row 'x'\"") == 1);
  CHECK(f.health.view().foreign_mails == 0);
}

TEST_CASE("mailbox watch: however often the mailbox is opened, the store is asked once at a time") {
  Fixture f;
  f.watch.on_mailbox_event(core::MailboxOpened{7, 1, 0});
  f.watch.on_mailbox_event(core::MailboxOpened{7, 1, 0});
  f.watch.on_mailbox_event(core::MailboxOpened{8, 1, 0});
  CHECK(f.commands.size() == 1);
  f.answer<core::OpenMailbox>(core::Answer{state_of(5)});
  CHECK(f.resumed.empty());  // of another opening
  CHECK(f.answer<core::OpenMailbox>(core::Answer{state_of(6)}).uidvalidity == 8);
  REQUIRE(f.resumed.size() == 1);
  CHECK(f.resumed[0].uidvalidity == 8);
  CHECK(f.resumed[0].after_uid == 6);
}

TEST_CASE("mailbox watch: further moves are told as earlier ones are done, each once") {
  Fixture f;
  std::vector<core::MailToMove> first;
  for (std::uint32_t uid = 1; uid <= core::k_mails_a_fact; ++uid)
    first.push_back({uid, core::MailFate::processed});
  f.open(7, state_of(1000, first));
  CHECK(f.moves.empty());
  f.watch.on_mailbox_event(core::MailMoved{7, {1, 2}});
  std::vector<core::MailToMove> more;
  for (std::uint32_t uid = 501; uid <= 503; ++uid)
    more.push_back({uid, core::MailFate::unrecognised});
  CHECK(f.answer<core::RecordMoved>(core::Answer{state_of(1000, more)}).moved.uids ==
        std::vector<std::uint32_t>{1, 2});
  REQUIRE(f.moves.size() == 2);  // as many as were done
  CHECK(f.moves[0].mail == core::MailUid{7, 501});
  CHECK(f.moves[0].fate == core::MailFate::unrecognised);
  f.watch.on_mailbox_event(core::MailMoved{7, {3}});
  REQUIRE(f.moves.size() == 3);
  CHECK(f.moves[2].mail == core::MailUid{7, 503});
  f.answer<core::RecordMoved>(core::Answer{state_of(1000)});
  CHECK(f.moves.size() == 3);
}

TEST_CASE("mailbox watch: a mail that was read at two deaths of the agent is never read again") {
  Fixture f;
  f.open(7, state_of(10));
  f.watch.on_mailbox_lost(core::MailUid{7, 11});
  f.open(7, state_of(10));
  CHECK(f.resumed.back().poison.empty());
  f.watch.on_mailbox_lost(core::MailUid{7, 12});
  f.open(7, state_of(10));
  f.watch.on_mailbox_lost(core::MailUid{7, 11});
  CHECK(f.log.count("event=mail_poison uidvalidity=7 uid=11") == 1);
  CHECK(f.answer<core::RecordPoison>(core::Answer{core::Done{}}).mail == core::MailUid{7, 11});
  f.open(7, state_of(10));
  CHECK(f.resumed.back().poison == std::vector<std::uint32_t>{11});
  f.watch.on_mailbox_event(core::MailMoved{7, {11}});
  f.answer<core::RecordMoved>(core::Answer{core::Done{}});
  f.open(7, state_of(11));
  CHECK(f.resumed.back().poison.empty());
}

TEST_CASE("mailbox watch: one that was read in between, or lies in another mailbox, is no poison") {
  Fixture f;
  f.open(7);
  f.watch.on_mailbox_lost(core::MailUid{7, 11});
  f.open(7);
  f.read({7, 11});
  f.file({7, 11}, core::MailFate::processed);
  f.watch.on_mailbox_lost(core::MailUid{7, 11});
  f.watch.on_mailbox_lost(std::nullopt);
  f.open(8);
  f.watch.on_mailbox_lost(core::MailUid{8, 11});
  CHECK(f.log.count("event=mail_poison") == 0);
  CHECK(f.commands.empty());
}

TEST_CASE("mailbox watch: health is told once a change; what only people can put right is an error") {
  Fixture f;
  CHECK(f.bounces() == "down");
  f.watch.on_mailbox_event(core::MailboxFact{true, "", "", {}});
  f.watch.on_mailbox_event(core::MailboxFact{true, "", "", {}});
  CHECK(f.bounces() == "up");
  CHECK(f.log.count("event=mailbox_up") == 1);
  f.down("connect");
  f.down("connect");
  CHECK(f.bounces() == "down");
  CHECK(f.log.count("event=mailbox_down step=\"connect\" trouble=ordinary reason=\"it said 'no'\"") == 1);
  CHECK(f.log.lines.back().first == core::LogLevel::warning);
  CHECK(f.looks == 0);
  f.down("login", core::RelayTrouble::auth_refused);
  CHECK(f.log.lines.back().first == core::LogLevel::error);
  CHECK(f.looks == 1);
  f.down("tls", core::RelayTrouble::certificate);
  CHECK(f.log.lines.back().first == core::LogLevel::error);
  f.watch.on_mailbox_lost(std::nullopt);
  CHECK(f.log.count("event=mailbox_down step=\"agent\"") == 1);
  f.watch.on_mailbox_event(core::MailboxFact{true, "", "", {}});
  CHECK(f.log.count("event=mailbox_up") == 2);
}

TEST_CASE("mailbox watch: more than twenty mails that are not ours are told once, and in the health") {
  Fixture f;
  f.open(7, state_of(5, {}, 20));
  CHECK(f.log.count("event=mailbox_foreign") == 0);
  CHECK(daemon::ready_json(f.health.view(), daemon::ReadyFor::operators).find("bounces_foreign") ==
        std::string::npos);
  f.read({7, 6});
  f.file({7, 6}, core::MailFate::leave);
  f.read({7, 7});
  f.file({7, 7}, core::MailFate::leave);
  CHECK(f.log.count("event=mailbox_foreign count=21") == 1);
  CHECK(f.log.count("event=mailbox_foreign") == 1);
  CHECK(daemon::ready_json(f.health.view(), daemon::ReadyFor::operators).find("\"bounces_foreign\":22") !=
        std::string::npos);
}

TEST_CASE("health: why something does not work is the operators' to know, and only while it does not") {
  core::Config config;
  config.bounces.emplace();
  daemon::Health health(config);
  const auto told = [&health](daemon::ReadyFor whom, const std::string& text) {
    return daemon::ready_json(health.view(), whom).find(text) != std::string::npos;
  };
  CHECK(told(daemon::ReadyFor::operators, R"("agents":{"smtp":"down","imap":"down"})"));
  health.agent_is("smtp", daemon::AgentCondition::confined);
  health.agent_is("imap", daemon::AgentCondition::unconfined);
  health.mailbox_failed({"login", "no", "auth_refused", core::from_unix_ms(0)});
  health.store_is(core::fail(core::Errc::no_space, "the disk is full"));
  CHECK(told(daemon::ReadyFor::operators, R"("agents":{"imap":"unconfined"})"));
  CHECK(told(daemon::ReadyFor::operators, R"("store_error":"the disk is full")"));
  CHECK(told(daemon::ReadyFor::operators,
             R"("bounces_error":{"step":"login","reason":"no","trouble":"auth_refused",)"
             R"("at":"1970-01-01T00:00:00.000Z"})"));
  CHECK_FALSE(told(daemon::ReadyFor::apps, "_error"));
  CHECK_FALSE(told(daemon::ReadyFor::apps, "agents"));
  health.agent_is("imap", daemon::AgentCondition::confined);
  health.mailbox_is(daemon::MailboxCondition::up);
  health.store_is({});
  CHECK_FALSE(told(daemon::ReadyFor::operators, "_error"));
  CHECK_FALSE(told(daemon::ReadyFor::operators, "agents"));
}

TEST_CASE("mailbox watch: moves that nobody ordered, or of another mailbox, are not recorded") {
  Fixture f;
  f.open(7, state_of(10, {{3, core::MailFate::processed}}));
  f.watch.on_mailbox_event(core::MailMoved{7, {4, 5}});
  f.watch.on_mailbox_event(core::MailMoved{8, {3}});
  CHECK(f.commands.empty());
  f.watch.on_mailbox_event(core::MailMoved{7, {2, 3}});
  CHECK(f.answer<core::RecordMoved>(core::Answer{state_of(10)}).moved.uids == std::vector<std::uint32_t>{3});
  f.watch.on_mailbox_event(core::MailMoved{7, {3}});
  CHECK(f.commands.empty());
}

TEST_CASE("mailbox watch: an agent that ends as it was asked to is no news, and what it read is no poison") {
  Fixture f;
  f.open(7);
  f.watch.on_mailbox_event(core::MailboxFact{true, "", "", {}});
  f.watch.on_mailbox_lost(core::MailUid{7, 1});
  f.watch.on_mailbox_event(core::MailboxFact{true, "", "", {}});
  f.watch.stop();
  const std::size_t lines = f.log.lines.size();
  f.watch.on_mailbox_lost(core::MailUid{7, 1});
  CHECK(f.log.lines.size() == lines);
  CHECK(f.commands.empty());
}
