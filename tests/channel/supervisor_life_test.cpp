// The supervisor and the life of its agent: start, lock, death, restart, end.
#include <algorithm>
#include <string>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/channel/agent_peer.h"
#include "tests/channel/samples.h"
#include "tests/channel/supervised.h"

using namespace mailotp;
using testing::Supervised;

namespace {

bool lock_is_free(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(file >= 0);
  const bool free = ::flock(file, LOCK_EX | LOCK_NB) == 0;
  (void)::close(file);
  return free;
}

bool is_running(pid_t pid) {
  return ::kill(pid, 0) == 0;
}

const daemon::LostJob& lost_of(const std::vector<daemon::LostJob>& jobs, const core::AttemptKey& key) {
  const auto found =
      std::find_if(jobs.begin(), jobs.end(), [&](const daemon::LostJob& job) { return job.key == key; });
  REQUIRE(found != jobs.end());
  return *found;
}

}  // namespace

TEST_CASE("a job goes through the real agent into the maildir, and a drain ends it well") {
  Supervised supervised("");
  supervised.start_and_wait();
  supervised.submit(samples::key());
  CHECK(supervised.agent->held() == 1);
  supervised.run_until([&] { return !supervised.facts_of<core::JobRelayed>().empty(); });
  CHECK(supervised.facts_of<core::JobDotNext>().size() == 1);
  CHECK(supervised.facts_of<core::RelayFact>().at(0).condition == core::RelayCondition::up);
  CHECK(supervised.agent->held() == 0);
  const auto files = testing::files_in(supervised.maildir + "/new");
  REQUIRE(files.size() == 1);
  CHECK(testing::read_file(files[0]) == testing::k_content);
  CHECK_FALSE(lock_is_free(supervised.options.lock_path));
  const pid_t pid = supervised.last_pid();
  supervised.drain(core::Millis{1000});
  CHECK_FALSE(is_running(pid));
  CHECK(lock_is_free(supervised.options.lock_path));
  CHECK(supervised.log.count("event=agent_gone agent=smtp pid=" + std::to_string(pid) +
                             " status=0 signal=0") == 1);
}

TEST_CASE("jobs in the hands of a drained agent all end") {
  Supervised supervised("");
  supervised.start_and_wait();
  constexpr std::uint8_t k_jobs = 30;
  for (std::uint8_t i = 0; i < k_jobs; ++i)
    supervised.submit(samples::key(i));
  supervised.drain(core::Millis{5000});
  CHECK(supervised.facts_of<core::JobRelayed>().size() + supervised.facts_of<core::JobNotSent>().size() ==
        k_jobs);
  CHECK(supervised.facts_of<core::JobRelayed>().size() ==
        testing::files_in(supervised.maildir + "/new").size());
  REQUIRE(supervised.lost.size() == 1);
  CHECK(supervised.lost[0].empty());
}

TEST_CASE("after a kill -9 the jobs are lost as their last facts say, and a new agent comes") {
  Supervised supervised("hold");
  supervised.start_and_wait();
  const pid_t first = supervised.last_pid();
  supervised.submit(samples::key(1, 3), "early@example.net");
  supervised.submit(samples::key(2, 4), "dot@example.net");
  supervised.run_until_facts(1);
  CHECK(supervised.agent->held() == 2);
  supervised.kill_agent(SIGKILL);
  supervised.run_until([&] { return supervised.readies.size() == 2; });
  REQUIRE(supervised.lost.size() == 1);
  REQUIRE(supervised.lost[0].size() == 2);
  CHECK_FALSE(lost_of(supervised.lost[0], samples::key(1, 3)).dot_possible);
  CHECK(lost_of(supervised.lost[0], samples::key(2, 4)).dot_possible);
  CHECK(supervised.last_pid() != first);
  CHECK(supervised.agent->held() == 0);
  CHECK(supervised.agent->restarts() == 1);
}

TEST_CASE("what the agent said before it died counts") {
  Supervised supervised("last_words");
  supervised.start_and_wait();
  supervised.submit(samples::key(1));
  supervised.submit(samples::key(2));
  supervised.run_until([&] { return supervised.readies.size() == 2; });
  REQUIRE(supervised.facts_of<core::JobRelayed>().size() == 1);
  CHECK(supervised.facts_of<core::JobRelayed>()[0].key == samples::key(1));
  REQUIRE(supervised.lost.at(0).size() == 1);
  CHECK(supervised.lost[0][0].key == samples::key(2));
  CHECK_FALSE(supervised.lost[0][0].dot_possible);
}

TEST_CASE("the real agent, stopped and killed with orders unread") {
  Supervised supervised("");
  supervised.start_and_wait();
  supervised.kill_agent(SIGSTOP);
  for (std::uint8_t i = 0; i < 200; ++i)
    supervised.submit(samples::key(i));
  bool turned = false;
  supervised.run_until([&turned] { return std::exchange(turned, true); });
  supervised.kill_agent(SIGKILL);
  supervised.run_until([&] { return supervised.readies.size() == 2; });
  REQUIRE(supervised.lost.size() == 1);
  CHECK(supervised.lost[0].size() == 200);
  for (const daemon::LostJob& job : supervised.lost[0])
    CHECK_FALSE(job.dot_possible);
  CHECK(testing::files_in(supervised.maildir + "/new").empty());
}

TEST_CASE("a stopped agent of a daemon that died is killed before another starts") {
  Supervised supervised("");
  supervised.options.lock_patience = core::Millis{100};
  testing::AgentPeer old(supervised.options.lock_path);
  old.say(supervised.hello());
  old.next<core::AgentReady>();
  REQUIRE(::kill(old.pid(), SIGSTOP) == 0);
  old.hang_up();  // its daemon is dead, and it cannot notice
  supervised.start();
  supervised.run_until([&] { return supervised.agent->ready(); });
  const int status = old.wait();
  REQUIRE(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGKILL);
  CHECK(supervised.log.count("event=old_agent_killed") == 1);
}

TEST_CASE("an agent of a daemon that died ends by itself, and nobody is killed") {
  Supervised supervised("");
  supervised.options.lock_patience = core::Millis{20'000};
  testing::AgentPeer old(supervised.options.lock_path);
  old.say(supervised.hello());
  old.next<core::AgentReady>();
  old.hang_up();
  supervised.start_and_wait();
  CHECK(old.exit_status() == 0);
  CHECK(supervised.log.count("event=old_agent_killed") == 0);
}

TEST_CASE("a lock whose file names no agent of ours kills nobody, and is waited for") {
  Supervised supervised("");
  supervised.options.lock_patience = core::Millis{20};
  const int held = ::open(supervised.options.lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  REQUIRE(::flock(held, LOCK_EX | LOCK_NB) == 0);
  std::string line;
  SECTION("nothing") {}
  SECTION("nonsense") {
    line = "-1 x\n";
  }
  SECTION("init") {
    line = "1 1\n";
  }
  SECTION("ourselves") {
    line = std::to_string(::getpid()) + " 1\n";
  }
  SECTION("a process that is another one now") {
    line = std::to_string(::getppid()) + " 1\n";
  }
  SECTION("a process that is gone") {
    line = "4194300 1\n";
  }
  REQUIRE(::pwrite(held, line.data(), line.size(), 0) == static_cast<ssize_t>(line.size()));
  supervised.start();
  supervised.run_until([&] { return supervised.log.count("event=old_agent_alive") >= 2; });
  CHECK_FALSE(supervised.agent->ready());
  CHECK(supervised.readies.empty());
  (void)::close(held);
  supervised.run_until([&] { return supervised.agent->ready(); });
  CHECK(supervised.log.count("event=old_agent_killed") == 0);
}

TEST_CASE("an agent that cannot be believed is killed and started again") {
  const std::string script = GENERATE(as<std::string>(), "garbage", "oversized", "early", "twice", "liar");
  Supervised supervised(script);
  supervised.start();
  supervised.run_until([&] { return supervised.log.count("event=agent_gone") >= 3; });
  CHECK(supervised.log.count("event=agent_killed") >= 3);
  CHECK(supervised.facts.empty());
  if (script != "twice") CHECK(supervised.readies.empty());
}

TEST_CASE("an agent that does not answer the hello is killed") {
  Supervised supervised("mute");
  supervised.options.hello_timeout = core::Millis{50};
  supervised.start();
  supervised.run_until([&] { return supervised.log.count("event=agent_gone") >= 2; });
  CHECK(supervised.log.count("it did not answer the hello") >= 2);
  CHECK(supervised.readies.empty());
}

TEST_CASE("an agent that falls silent is killed, and its jobs come back") {
  Supervised supervised("silent");
  supervised.options.beat = core::Millis{20};
  supervised.options.missed_beats = 3;
  supervised.start_and_wait();
  supervised.submit(samples::key());
  supervised.run_until([&] { return supervised.readies.size() == 2; });
  CHECK(supervised.log.count("it is silent") >= 1);
  REQUIRE(supervised.lost.at(0).size() == 1);
  CHECK(supervised.lost[0][0].key == samples::key());
}

TEST_CASE("an agent gives signs of life while it answers, and there are none to expect while it is away") {
  Supervised supervised("");
  supervised.options.beat = core::Millis{10};
  supervised.options.missed_beats = 100;
  supervised.options.backoff_first = core::Millis{200};
  supervised.start();
  CHECK_FALSE(supervised.agent->signs_of_life());
  supervised.run_until([&] { return supervised.agent->ready(); });
  const auto first = supervised.agent->signs_of_life();
  REQUIRE(first);
  supervised.run_until([&] { return *supervised.agent->signs_of_life() > *first + 3; });
  supervised.kill_agent(SIGSTOP);
  // It is silent until it is killed for it.
  std::uint64_t last = 0;
  supervised.run_until([&] {
    if (supervised.log.count("event=agent_killed") > 0) return true;
    last = supervised.agent->signs_of_life().value();
    return false;
  });
  supervised.run_until([&] { return !supervised.agent->signs_of_life(); });
  CHECK_FALSE(supervised.agent->ready());
  supervised.run_until([&] { return supervised.readies.size() == 2; });
  CHECK(supervised.agent->signs_of_life().value() > last);
}

TEST_CASE("an agent that answers its beats lives on") {
  Supervised supervised("");
  supervised.options.beat = core::Millis{1};
  supervised.options.missed_beats = 2000;
  supervised.start_and_wait();
  // More than may be missed: it answers some.
  for (std::size_t turns = 0; turns < 2500; ++turns) {
    bool turned = false;
    supervised.run_until([&turned] { return std::exchange(turned, true); });
  }
  CHECK(supervised.readies.size() == 1);
  CHECK(supervised.log.count("event=agent_killed") == 0);
}

TEST_CASE("an agent that closes its channel is ended") {
  Supervised supervised("closer");
  supervised.start();
  supervised.run_until([&] { return supervised.readies.size() == 2; });
  CHECK(supervised.log.count("event=agent_gone agent=smtp") >= 1);
}

TEST_CASE("a program that is missing or ends at once is tried again") {
  Supervised supervised("dead");
  SECTION("ends at once") {
    supervised.start();
    supervised.run_until([&] { return supervised.log.count("status=7 signal=0") >= 3; });
  }
  SECTION("missing") {
    supervised.options.program = supervised.folder / "no-such-program";
    supervised.start();
    supervised.run_until([&] { return supervised.log.count("event=agent_start_failed") >= 3; });
  }
  SECTION("no place for its lock") {
    supervised.options.lock_path = supervised.folder / "no-such-folder/agent.lock";
    supervised.start();
    supervised.run_until([&] { return supervised.log.count("event=agent_lock_failed") >= 3; });
  }
  CHECK(supervised.readies.empty());
  CHECK(supervised.agent->restarts() >= 2);
}

TEST_CASE("stopping is possible in every state, and a start after it") {
  Supervised supervised("hold");
  supervised.options.hello_timeout = core::Millis{20'000};
  SECTION("before anything has turned") {
    supervised.start();
  }
  SECTION("ready, with jobs") {
    supervised.start_and_wait();
    supervised.submit(samples::key());
    supervised.stop();
    REQUIRE(supervised.lost.size() == 1);
    CHECK(supervised.lost[0].size() == 1);
    CHECK_FALSE(is_running(supervised.last_pid()));
    supervised.start();
    supervised.run_until([&] { return supervised.readies.size() == 2; });
  }
  SECTION("starting") {
    supervised.options.environment = {"SCRIPT=mute"};
    supervised.start();
    supervised.drain(core::Millis{10'000});
    CHECK(supervised.log.count("event=agent_gone") == 1);
  }
  SECTION("resting") {
    supervised.options.environment = {"SCRIPT=dead"};
    supervised.options.backoff_first = core::Millis{20'000};
    supervised.start();
    supervised.run_until([&] { return supervised.log.count("event=agent_gone") == 1; });
    supervised.drain(core::Millis{10'000});
  }
  SECTION("waiting for the lock") {
    const int held = ::open(supervised.options.lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(::flock(held, LOCK_EX | LOCK_NB) == 0);
    supervised.start();
    supervised.drain(core::Millis{10'000});
    (void)::close(held);
  }
  SECTION("stopped already") {
    supervised.start_and_wait();
    supervised.stop();
    supervised.stop();
    supervised.drain(core::Millis{10'000});
  }
  SECTION("draining: a second call is a kill") {
    supervised.options.environment = {"SCRIPT=deaf"};
    supervised.start_and_wait();
    int done = 0;
    supervised.agent->drain(core::Millis{1'000'000}, [&done] { ++done; });
    supervised.agent->stop_now([&done] { ++done; });
    supervised.run_until([&done] { return done == 2; });
    CHECK_FALSE(is_running(supervised.last_pid()));
  }
}

TEST_CASE("an agent that ignores a drain is killed after the grace") {
  Supervised supervised("deaf");
  supervised.start_and_wait();
  supervised.drain(core::Millis{1});
  CHECK(supervised.log.count("it did not end in time") == 1);
  CHECK_FALSE(is_running(supervised.last_pid()));
}

TEST_CASE("an agent whose hello has changed ends when its jobs are done, and another one follows at once") {
  Supervised supervised("");
  supervised.options.backoff_first = core::Millis{20'000};
  supervised.start_and_wait();
  const pid_t first = supervised.last_pid();
  constexpr std::uint8_t k_jobs = 30;
  for (std::uint8_t i = 0; i < k_jobs; ++i)
    supervised.submit(samples::key(i));
  supervised.agent->renew(core::Millis{20'000}, core::Millis{20'000});
  supervised.run_until([&] { return supervised.readies.size() == 2; });
  CHECK(supervised.facts_of<core::JobRelayed>().size() == k_jobs);
  REQUIRE(supervised.lost.size() == 1);
  CHECK(supervised.lost[0].empty());
  CHECK(supervised.last_pid() != first);
  CHECK_FALSE(is_running(first));
  CHECK(supervised.agent->restarts() == 0);
  // And without a job.
  supervised.agent->renew(core::Millis{20'000}, core::Millis{20'000});
  supervised.run_until([&] { return supervised.readies.size() == 3; });
}

TEST_CASE("an agent that is renewed does not wait for its jobs for ever") {
  Supervised supervised("hold");
  supervised.start_and_wait();
  supervised.submit(samples::key(1));
  supervised.submit(samples::key(2), "dot@example.net");
  supervised.run_until_facts(1);
  supervised.agent->renew(core::Millis{1}, core::Millis{20'000});
  supervised.run_until([&] { return supervised.readies.size() == 2; });
  REQUIRE(supervised.lost.size() == 1);
  CHECK_FALSE(lost_of(supervised.lost[0], samples::key(1)).dot_possible);
  CHECK(lost_of(supervised.lost[0], samples::key(2)).dot_possible);
}

TEST_CASE("an agent is renewed in every state, and stopped while it is") {
  Supervised supervised("hold");
  supervised.options.backoff_first = core::Millis{20'000};
  SECTION("starting: it has the hello of before") {
    supervised.options.hello_timeout = core::Millis{20'000};
    supervised.options.environment = {"SCRIPT=mute"};
    supervised.start();
    supervised.agent->renew(core::Millis{1}, core::Millis{20'000});
    supervised.run_until([&] { return supervised.log.count("event=agent_gone") == 1; });
    CHECK(supervised.agent->restarts() == 0);
  }
  SECTION("it ignores that it is to end") {
    supervised.options.backoff_first = core::Millis{10};
    supervised.options.environment = {"SCRIPT=deaf"};
    supervised.start_and_wait();
    supervised.agent->renew(core::Millis{1}, core::Millis{1});
    supervised.run_until([&] { return supervised.readies.size() == 2; });
    CHECK(supervised.log.count("it did not end in time") == 1);
  }
  SECTION("it is drained meanwhile: the shorter grace counts") {
    supervised.options.environment = {"SCRIPT=deaf"};
    supervised.start_and_wait();
    supervised.agent->renew(core::Millis{1}, core::Millis{1'000'000});
    supervised.drain(core::Millis{1});
    CHECK_FALSE(is_running(supervised.last_pid()));
    CHECK(supervised.readies.size() == 1);
  }
  SECTION("it is drained while its jobs are waited for") {
    supervised.start_and_wait();
    supervised.submit(samples::key());
    supervised.agent->renew(core::Millis{1'000'000}, core::Millis{1'000'000});
    supervised.drain(core::Millis{20'000});
    CHECK(supervised.readies.size() == 1);
  }
  SECTION("stopped: nothing") {
    supervised.start_and_wait();
    supervised.stop();
    supervised.agent->renew(core::Millis{1}, core::Millis{1});
    CHECK(supervised.readies.size() == 1);
  }
}
