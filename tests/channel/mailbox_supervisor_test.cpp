// The mailbox supervisor and what its agent says: only what can be true gets through.
#include "daemon/agents/mailbox_supervisor.h"

#include <algorithm>
#include <string>

#include <catch2/catch.hpp>

#include "tests/channel/supervised.h"

using namespace mailotp;

namespace {

// A loop with a mailbox supervisor on it, and a record of all that it told.
struct Mailbox final : daemon::MailboxListener {
  explicit Mailbox(const std::string& script) {
    REQUIRE(uv_loop_init(&loop) == 0);
    daemon::AgentOptions options;
    options.name = "imap";
    options.program = SCRIPTED_MAILBOX;
    options.lock_path = folder / "imap.lock";
    options.environment = {"SCRIPT=" + script};
    options.backoff_first = core::Millis{10};
    options.backoff_most = core::Millis{100};
    const auto hello = [] {
      core::MailboxHello made;
      made.mailbox.host = "imap.example.net";
      made.mailbox.password = core::Secret("hunter2");
      return made;
    };
    agent.emplace(&loop, std::move(options), hello, *this, log);
    agent->start();
  }
  ~Mailbox() override {
    bool done = false;
    agent->stop_now([&done] { done = true; });
    until([&done] { return done; });
    agent.reset();
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop) == 0);
    CHECK(log.count("hunter2") == 0);
  }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  template <class Condition>
  void until(Condition condition) {
    bool late = false;
    {
      daemon::Timer bound(&loop, [&late] { late = true; });
      bound.start(core::Seconds{30});
      while (!condition() && !late)
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    for (const std::string& line : log.lines)
      UNSCOPED_INFO(line);
    REQUIRE_FALSE(late);
  }
  template <class T>
  [[nodiscard]] std::vector<T> said() const {
    std::vector<T> some;
    for (const core::MailboxEvent& event : events)
      if (const T* one = std::get_if<T>(&event)) some.push_back(*one);
    return some;
  }
  void until_opened(std::size_t times = 1) {
    until([this, times] { return said<core::MailboxOpened>().size() >= times; });
  }
  [[nodiscard]] std::vector<std::uint32_t> read_uids() const {
    std::vector<std::uint32_t> uids;
    for (const core::MailRead& read : said<core::MailRead>())
      uids.push_back(read.mail.uid);
    return uids;
  }

  void on_mailbox_ready(const core::AgentReady&) override { ++readies; }
  void on_mailbox_event(core::MailboxEvent event) override { events.push_back(std::move(event)); }
  void on_mailbox_lost(std::optional<core::MailUid> reading) override { lost.push_back(reading); }

  testing::TemporaryFolder folder;
  testing::LogLines log;
  uv_loop_t loop{};
  std::optional<daemon::MailboxSupervisor> agent;
  int readies = 0;
  std::vector<core::MailboxEvent> events;
  std::vector<std::optional<core::MailUid>> lost;
};

using Uids = std::vector<std::uint32_t>;

}  // namespace

TEST_CASE("mailbox: mails are read, decided and moved, and a drain ends the agent well") {
  Mailbox mailbox("reader");
  mailbox.until_opened();
  CHECK(mailbox.log.count("event=hello host=imap.example.net") == 1);
  mailbox.agent->resume({7, 1, {{1, core::MailFate::processed}}, {}});
  mailbox.until([&] { return mailbox.read_uids().size() == 2; });
  CHECK(mailbox.read_uids() == Uids{2, 3});
  REQUIRE(mailbox.said<core::MailMoved>().size() == 1);
  mailbox.agent->decide({{7, 2}, core::MailFate::processed});
  mailbox.agent->decide({{7, 3}, core::MailFate::leave});
  mailbox.until([&] { return mailbox.said<core::MailMoved>().size() == 2; });
  CHECK(mailbox.said<core::MailMoved>()[1].uids == Uids{2});
  mailbox.agent->decide({{7, 2}, core::MailFate::unrecognised});  // nobody waits for it any more
  mailbox.agent->move({{7, 3}, core::MailFate::unrecognised});
  mailbox.until([&] { return mailbox.said<core::MailMoved>().size() == 3; });
  CHECK(mailbox.said<core::MailMoved>()[2].uids == Uids{3});
  CHECK(mailbox.log.count("event=decided uid=2 fate=processed") == 1);
  CHECK(mailbox.log.count("event=decided uid=2 fate=unrecognised") == 0);
  bool done = false;
  mailbox.agent->drain(core::Millis{5000}, [&done] { done = true; });
  mailbox.until([&done] { return done; });
  CHECK(mailbox.log.count("event=agent_gone agent=imap") == 1);
  CHECK(mailbox.log.count("status=0 signal=0 undecided=0 reading=0") == 1);
  REQUIRE(mailbox.lost.size() == 1);
  CHECK_FALSE(mailbox.lost[0]);
}

TEST_CASE("mailbox: mails that were not announced, of another mailbox, or read twice are dropped") {
  Mailbox mailbox("mixed");
  mailbox.until_opened();
  mailbox.agent->resume({7, 0, {}, {}});
  mailbox.until([&] { return !mailbox.said<core::MailMoved>().empty(); });
  CHECK(mailbox.read_uids() == Uids{2});
  REQUIRE(mailbox.said<core::MailMoved>().size() == 1);
  CHECK(mailbox.said<core::MailMoved>()[0].uids == Uids{9});
  CHECK(mailbox.log.count("event=agent_fact_dropped") == 1);
  CHECK(mailbox.readies == 1);
}

TEST_CASE("mailbox: nothing is read before the agent is told where to begin") {
  Mailbox mailbox("early");
  mailbox.until_opened();
  mailbox.agent->set_password(core::Secret("12345"));
  mailbox.until([&] { return mailbox.log.count("event=password size=5") == 1; });  // all before it has come
  CHECK(mailbox.read_uids().empty());
  CHECK(mailbox.log.count("event=agent_fact_dropped") == 1);
}

TEST_CASE("mailbox: an agent that reads on without decisions is killed at the bound") {
  Mailbox mailbox("greedy");
  mailbox.until_opened();
  mailbox.agent->resume({7, 0, {}, {}});
  mailbox.until([&] { return mailbox.lost.size() == 1; });
  CHECK(mailbox.read_uids().size() == daemon::MailboxSupervisor::k_undecided);
  CHECK(mailbox.log.count("event=agent_killed agent=imap") == 1);
}

TEST_CASE("mailbox: an agent that speaks another agent's words is killed, and the next one started") {
  Mailbox mailbox("smtp");
  mailbox.until([&] { return mailbox.readies == 2; });
  CHECK(mailbox.said<core::MailboxOpened>().empty());
  CHECK(mailbox.log.count("event=agent_killed agent=imap") >= 1);
}

TEST_CASE("mailbox: an agent that dies says which mail it was reading, and is told to leave it out") {
  Mailbox mailbox("dies");
  mailbox.until_opened();
  mailbox.agent->resume({7, 0, {}, {}});
  mailbox.until_opened(2);
  REQUIRE(mailbox.lost.size() == 1);
  CHECK(mailbox.lost[0] == core::MailUid{7, 2});
  CHECK(mailbox.read_uids() == Uids{1});
  mailbox.agent->decide({{7, 1}, core::MailFate::processed});  // the agent that waited for it is gone
  mailbox.agent->resume({7, 1, {}, {2}});
  mailbox.until([&] { return mailbox.read_uids().size() == 2; });
  CHECK(mailbox.read_uids() == Uids{1, 3});
  CHECK(mailbox.log.count("event=decided") == 0);
}

TEST_CASE("mailbox: opened anew, what was read before is not decided, and only its own answer counts") {
  Mailbox mailbox("reopens");
  mailbox.until_opened();
  mailbox.agent->resume({7, 0, {}, {}});
  mailbox.until_opened(2);
  CHECK(mailbox.read_uids() == Uids{1});
  mailbox.agent->decide({{7, 1}, core::MailFate::processed});
  mailbox.agent->resume({7, 1, {}, {}});  // of the mailbox before
  mailbox.agent->move({{7, 1}, core::MailFate::processed});
  mailbox.agent->resume({8, 0, {}, {}});
  mailbox.agent->resume({8, 0, {}, {}});
  mailbox.agent->set_password(core::Secret("12345"));
  mailbox.until([&] { return mailbox.log.count("event=password size=5") == 1; });
  CHECK(mailbox.log.count("event=decided") == 0);
  CHECK(mailbox.readies == 1);
}

TEST_CASE("mailbox: a mail that was gone when it was to be fetched is not why the agent died") {
  Mailbox mailbox("vanishes");
  mailbox.until_opened();
  mailbox.agent->resume({7, 0, {}, {}});
  mailbox.until([&] { return mailbox.lost.size() == 1; });
  CHECK(mailbox.said<core::MailMoved>().size() == 1);
  CHECK_FALSE(mailbox.lost[0]);
}
