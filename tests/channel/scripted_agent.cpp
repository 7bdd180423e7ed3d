// An agent as a relay that had taken it over could make it. What it does is the word SCRIPT in its
// environment; it speaks by mail/channel like the real one, and blocks.
//
//   hold        keeps every job; reports the dot of those whose recipient begins with "dot"
//   relay       reports every job as relayed at once
//   stale       reports facts of another attempt, another job, another relay, another test; then the right
//   ones flood       writes log lines without end after each job garbage     writes bytes that are no frame
//   of its kind oversized   announces a frame of 1 GiB early       reports a job before it is ready twice
//   says that it is ready two times liar        gives another process's number mute        never answers the
//   hello silent      is ready, then never reads again deaf        ignores a drain last_words  on each job:
//   dot next, relayed, and dies closer      closes its channel and lives on dead        ends at once with
//   status 7
#include <array>
#include <cstdlib>
#include <string>
#include <string_view>
#include <variant>

#include <poll.h>
#include <unistd.h>

#include "mail/channel/codec.h"
#include "mail/channel/frame_socket.h"

namespace mailotp {
namespace {

constexpr int k_channel = 3;

class Scripted {
 public:
  explicit Scripted(std::string_view script) : script_(script), channel_(k_channel, channel::k_max_frame) {}

  int run() {
    if (script_ == "dead") return 7;
    while (true) {
      auto frame = channel_.next();
      if (!frame) return 4;
      if (*frame) {
        if (const int status = on_frame(**frame); status >= 0) return status;
        continue;
      }
      pollfd wait{k_channel, POLLIN, 0};
      (void)::poll(&wait, 1, -1);
      if (channel_.receive() == channel::FrameSocket::Received::end) return 0;
    }
  }

 private:
  void say(const core::Fact& fact) { say(channel::encode(fact)); }
  void say(std::string bytes) {
    channel_.send(core::Secret(std::move(bytes)));
    channel_.flush_all();
  }
  [[noreturn]] static void sleep_for_good() {
    while (true)
      (void)::pause();
  }

  // -1: go on; else the exit status.
  int on_frame(std::string_view frame) {
    if (frame.empty()) {
      say(channel::encode_beat());
      return -1;
    }
    auto order = channel::decode_order(frame);
    if (!order) return 4;
    if (std::holds_alternative<core::Hello>(*order)) return on_hello();
    if (const auto* job = std::get_if<core::Job>(&*order)) return on_job(*job);
    if (const auto* test = std::get_if<core::TestRelay>(&*order)) on_test(*test);
    if (std::holds_alternative<core::Drain>(*order) && script_ != "deaf") return 0;
    return -1;
  }

  int on_hello() {
    const core::AgentReady ready{"scripted", ::getpid(), core::Confinement::full};
    if (script_ == "mute") return -1;
    if (script_ == "garbage") say(std::string("\x00\x00\x00\x05hello", 9));
    if (script_ == "oversized") say(std::string("\x40\x00\x00\x00", 4));
    if (script_ == "early") say(core::JobRelayed{{{}, 1}, {250, "", ""}});
    if (script_ == "liar") say(core::AgentReady{"scripted", ::getppid(), core::Confinement::full});
    say(ready);
    if (script_ == "twice") say(ready);
    if (script_ == "silent") sleep_for_good();
    if (script_ == "closer") {
      (void)::close(k_channel);
      sleep_for_good();
    }
    return -1;
  }

  int on_job(const core::Job& job) {
    const core::Reply reply{250, "2.0.0", "ok"};
    if (script_ == "hold" && job.recipient.starts_with("dot")) say(core::JobDotNext{job.key});
    if (script_ == "relay") say(core::JobRelayed{job.key, reply});
    if (script_ == "stale") on_job_stale(job, reply);
    if (script_ == "flood") {
      for (int i = 0; i < 5000; ++i)
        say(core::AgentLog{"event=spam line=\" event=forged"});
      say(core::JobRelayed{job.key, reply});
    }
    if (script_ == "last_words") {
      say(core::JobDotNext{job.key});
      say(core::JobRelayed{job.key, reply});
      return 9;
    }
    return -1;
  }

  void on_job_stale(const core::Job& job, const core::Reply& reply) {
    core::AttemptKey other = job.key;
    ++other.attempt;
    say(core::JobDotNext{other});
    say(core::JobRelayed{other, reply});
    other = job.key;
    other.message.bytes[0] ^= 1;
    say(core::JobRefused{other, core::Stage::rcpt, {550, "5.1.1", "no"}});
    say(core::JobNotSent{other, core::Stage::rcpt, "no", std::nullopt});
    say(core::JobUncertain{other, "no"});
    say(core::RelayFact{"another", core::RelayCondition::down, core::Stage::connect, "no", 0});
    say(core::TestStep{99, core::Stage::dns, true, "no"});
    say(core::TestDone{99, true});
    say(core::JobDotNext{job.key});
    say(core::JobDotNext{job.key});
    say(core::JobRelayed{job.key, reply});
    say(core::JobRefused{job.key, core::Stage::dot, {554, "5.7.1", "it is ended already"}});
  }

  void on_test(const core::TestRelay& test) {
    if (script_ != "relay") return;
    for (int i = 0; i < 1000; ++i)
      say(core::TestStep{test.test, core::Stage::dns, true, "again"});
    say(core::TestDone{test.test, true});
  }

  std::string_view script_;
  channel::FrameSocket channel_;
};

}  // namespace
}  // namespace mailotp

int main() {
  const char* script = std::getenv("SCRIPT");
  return mailotp::Scripted(script != nullptr ? script : "").run();
}
