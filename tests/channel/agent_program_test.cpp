// The program mailotp-smtp itself, over its channel.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <netinet/in.h>
#include <sys/file.h>

#include "tests/channel/agent_peer.h"
#include "tests/channel/samples.h"
#include "tests/channel/temporary_folder.h"

using namespace mailotp;
using testing::AgentPeer;

namespace {

struct Agent {
  testing::TemporaryFolder folder;
  std::string maildir = folder.maildir("captured");
  std::string lock = folder / "agent.lock";
  AgentPeer peer;

  explicit Agent(const std::vector<int>& inherited = {}) : peer(lock, inherited) {}
  core::Hello hello() const {
    core::Hello hello;
    hello.hostname = "mail.example.org";
    hello.relays.push_back(samples::capture("primary", maildir));
    return hello;
  }
  // Says hello and waits until the relay is up.
  core::AgentReady make_ready() {
    peer.say(hello());
    auto ready = peer.next<core::AgentReady>();
    const auto relay = peer.next<core::RelayFact>();
    CHECK(relay.condition == core::RelayCondition::up);
    return ready;
  }
};

// The words of the line of a /proc file that begins with `name`, joined by single spaces.
std::string line_of(const std::string& text, const std::string& name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name)) continue;
    std::istringstream words(line.substr(name.size()));
    std::string joined;
    for (std::string word; words >> word;)
      joined += (joined.empty() ? "" : " ") + word;
    return joined;
  }
  return "";
}

bool lock_is_free(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(file >= 0);
  const bool free = ::flock(file, LOCK_EX | LOCK_NB) == 0;
  (void)::close(file);
  return free;
}

}  // namespace

TEST_CASE("hello, ready, job, dot next, relayed; the file has the very bytes") {
  Agent agent;
  const auto ready = agent.make_ready();
  CHECK(ready.pid == agent.peer.pid());
  CHECK(ready.version == MAILOTP_VERSION);
  CHECK(ready.confinement == core::Confinement::full);
  const std::string content = "From: a@example.org\r\nSubject: x\r\n\r\n.\r\nbody \xc3\xa4\r\n";
  agent.peer.say(samples::job(samples::key(), content));
  CHECK(agent.peer.next<core::JobDotNext>().key == samples::key());
  const auto relayed = agent.peer.next<core::JobRelayed>();
  CHECK(relayed.key == samples::key());
  CHECK(relayed.reply.code == 250);
  CHECK(relayed.reply.status == "2.0.0");
  const auto files = testing::files_in(agent.maildir + "/new");
  REQUIRE(files.size() == 1);
  CHECK(testing::read_file(files[0]) == content);
  const std::string name = files[0].filename();
  CHECK(relayed.reply.text.find(name) != std::string::npos);
  CHECK(name.find(core::to_string(samples::key().message) + "_7.") != std::string::npos);
  CHECK((std::filesystem::status(files[0]).permissions() & std::filesystem::perms::all) ==
        (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
  CHECK(testing::files_in(agent.maildir + "/tmp").empty());
}

TEST_CASE("a repeat of a message is a second file that shows its attempt") {
  Agent agent;
  agent.make_ready();
  for (const std::uint32_t attempt : {1U, 2U}) {
    agent.peer.say(samples::job(samples::key(1, attempt)));
    agent.peer.next<core::JobDotNext>();
    agent.peer.next<core::JobRelayed>();
  }
  CHECK(testing::files_in(agent.maildir + "/new").size() == 2);
}

TEST_CASE("many jobs, sent at once with the hello, are all relayed, each after its own dot") {
  Agent agent;
  constexpr std::uint8_t k_jobs = 100;
  agent.peer.say(agent.hello());
  for (std::uint8_t i = 0; i < k_jobs; ++i)
    agent.peer.say(samples::job(samples::key(i, 1), std::string(10'000U + i, 'x')));
  agent.peer.next<core::AgentReady>();
  std::vector<core::AttemptKey> dotted;
  std::size_t relayed = 0;
  while (relayed < k_jobs) {
    const core::Fact fact = agent.peer.next_fact();
    if (const auto* dot = std::get_if<core::JobDotNext>(&fact)) dotted.push_back(dot->key);
    if (const auto* end = std::get_if<core::JobRelayed>(&fact)) {
      CHECK(std::find(dotted.begin(), dotted.end(), end->key) != dotted.end());
      ++relayed;
    }
  }
  CHECK(dotted.size() == k_jobs);
  CHECK(testing::files_in(agent.maildir + "/new").size() == k_jobs);
}

TEST_CASE("the end of the channel ends the agent, and its lock") {
  Agent agent;
  SECTION("before a hello") {}
  SECTION("when it is ready") {
    agent.make_ready();
  }
  SECTION("with jobs in its hands, whose facts nobody reads") {
    agent.make_ready();
    for (std::uint8_t i = 0; i < 50; ++i)
      agent.peer.say(samples::job(samples::key(i)));
  }
  agent.peer.hang_up();
  CHECK(agent.peer.exit_status() == 0);
  CHECK(lock_is_free(agent.lock));
}

TEST_CASE("a drained agent exits with 0 after its last fact") {
  Agent agent;
  agent.make_ready();
  SECTION("idle") {
    agent.peer.say(core::Drain{core::Millis{1000}});
    CHECK_FALSE(agent.peer.next_frame());
  }
  SECTION("every job that it took has one end, and none is taken after the drain") {
    for (std::uint8_t i = 0; i < 20; ++i)
      agent.peer.say(samples::job(samples::key(i)));
    agent.peer.say(core::Drain{core::Millis{1000}});
    agent.peer.say(samples::job(samples::key(100)));
    std::size_t relayed = 0;
    std::size_t not_sent = 0;
    while (const auto frame = agent.peer.next_frame()) {
      auto fact = channel::decode_fact(*frame);
      REQUIRE(fact);
      if (std::holds_alternative<core::JobRelayed>(*fact)) ++relayed;
      if (const auto* end = std::get_if<core::JobNotSent>(&*fact)) {
        ++not_sent;
        CHECK(end->stage == core::Stage::local);
      }
    }
    CHECK(relayed + not_sent == 21);
    CHECK(testing::files_in(agent.maildir + "/new").size() == relayed);
    CHECK(testing::files_in(agent.maildir + "/tmp").empty());
  }
  CHECK(agent.peer.exit_status() == 0);
}

TEST_CASE("the lock is held from the start to the end, and names the process") {
  Agent agent;
  agent.make_ready();
  CHECK_FALSE(lock_is_free(agent.lock));
  const std::string line = testing::read_file(agent.lock);
  long pid = 0;
  unsigned long started = 0;
  CHECK(std::sscanf(line.c_str(), "%ld %lu", &pid, &started) == 2);
  CHECK(pid == agent.peer.pid());
  CHECK(started > 0);
  SECTION("a second agent does not start") {
    AgentPeer second(agent.lock);
    CHECK(second.exit_status() == 3);
    CHECK(testing::read_file(agent.lock) == line);
  }
}

TEST_CASE("a running agent has given up its privileges and all descriptors but its own") {
  testing::TemporaryFolder daemons;
  const std::string key = daemons / "otp.key";
  testing::write_file(key, "secret");
  const int file = ::open(key.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(file >= 0);
  const int inherited = ::fcntl(file, F_DUPFD, 20);
  const int high = ::fcntl(inherited, F_DUPFD, 300);
  Agent agent({inherited, high});
  agent.make_ready();
  for (const int descriptor : {file, inherited, high})
    (void)::close(descriptor);
  const std::string process = "/proc/" + std::to_string(agent.peer.pid());
  const std::string status = testing::read_file(process + "/status");
  CHECK(line_of(status, "NoNewPrivs:") == "1");
  if (::geteuid() != 0) {
    // Not dumpable: another process of the same user may not look into it.
    CHECK(::open((process + "/fd").c_str(), O_RDONLY | O_DIRECTORY) < 0);
    CHECK(errno == EACCES);
    return;
  }
  CHECK(line_of(testing::read_file(process + "/limits"), "Max core file size") == "0 0 bytes");
  for (const auto& link : testing::files_in(process + "/fd")) {
    if (std::stoi(link.filename()) <= 2) continue;  // the test's own
    const std::string target = std::filesystem::read_symlink(link);
    INFO(link << " is " << target);
    const bool is_own = target.starts_with("socket:") || target.starts_with("pipe:") ||
                        target.starts_with("anon_inode:") || target == "/dev/null" || target == agent.lock;
    CHECK(is_own);
  }
}

TEST_CASE("a daemon that sends nonsense is not obeyed: exit status 4") {
  Agent agent;
  SECTION("the first frame is no hello") {
    agent.peer.say(samples::job(samples::key()));
  }
  SECTION("the first frame is no order") {
    agent.peer.say_bytes(std::string("\0\0\0\3abc", 7));
  }
  SECTION("a frame above 4 MiB") {
    agent.peer.say_bytes(std::string("\x00\x40\x00\x01", 4));
  }
  SECTION("a second hello") {
    agent.make_ready();
    agent.peer.say(agent.hello());
  }
  SECTION("garbage after the hello") {
    agent.make_ready();
    agent.peer.say_bytes(std::string("\0\0\0\3abc", 7));
  }
  CHECK(agent.peer.exit_status() == 4);
}

TEST_CASE("a beat is answered by a beat") {
  Agent agent;
  agent.make_ready();
  for (int i = 0; i < 3; ++i) {
    agent.peer.say_bytes(channel::encode_beat());
    CHECK(agent.peer.next_frame() == "");
  }
}

TEST_CASE("jobs and tests of a relay that it does not have are answered") {
  Agent agent;
  agent.make_ready();
  core::Job job = samples::job(samples::key());
  job.relay = "another";
  agent.peer.say(std::move(job));
  const auto not_sent = agent.peer.next<core::JobNotSent>();
  CHECK(not_sent.key == samples::key());
  CHECK(not_sent.stage == core::Stage::local);
  agent.peer.say(core::TestRelay{5, "another"});
  const auto done = agent.peer.next<core::TestDone>();
  CHECK(done.test == 5);
  CHECK_FALSE(done.ok);
}

TEST_CASE("a confined agent still resolves names") {
  Agent agent;
  const int unused = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);  // bound, but nobody listens
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::bind(unused, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  socklen_t size = sizeof address;
  REQUIRE(::getsockname(unused, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  core::Hello hello = agent.hello();
  core::RelaySettings relay;
  relay.name = "network";
  relay.host = "localhost";
  relay.port = ntohs(address.sin_port);
  relay.tls = core::TlsMode::none;
  relay.auth = core::AuthMode::none;
  hello.relays.push_back(std::move(relay));
  agent.peer.say(std::move(hello));
  CHECK(agent.peer.next<core::AgentReady>().confinement == core::Confinement::full);
  core::Job job = samples::job(samples::key(),
                               "Date: Fri, 20 Nov 2026 12:00:00 +0000\r\nFrom: a@example.org\r\n"
                               "To: b@example.net\r\nMessage-ID: <x@example.org>\r\n\r\nbody\r\n");
  job.relay = "network";
  agent.peer.say(std::move(job));
  std::optional<core::JobNotSent> end;
  while (!end) {
    const core::Fact fact = agent.peer.next_fact();
    if (const auto* not_sent = std::get_if<core::JobNotSent>(&fact)) end = *not_sent;
  }
  INFO(end->reason);
  CHECK(end->stage == core::Stage::connect);
  agent.peer.say(core::Drain{core::Millis{1000}});
  CHECK(agent.peer.exit_status() == 0);
  (void)::close(unused);
}

TEST_CASE("signals of a terminal or a stopping service are for the daemon alone") {
  Agent agent;
  agent.make_ready();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT})
    REQUIRE(::kill(agent.peer.pid(), signal) == 0);
  agent.peer.say_bytes(channel::encode_beat());
  CHECK(agent.peer.next_frame() == "");
}
