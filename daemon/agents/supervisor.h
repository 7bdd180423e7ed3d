// Keeps one agent alive, hands it jobs and listens to it. Loop thread only.
//
//   stopped ─start─► waiting_for_lock ─► starting ─hello answered─► ready ─drain─► draining
//                          ▲                 └───────────┬──────────┴────────────────┘
//                       resting ◄────────────────── the agent is dead ──(if asked to stop)──► stopped
//
// No agent is started before the lock of the one before is free, be it one of a daemon that was killed: after
// lock_patience its process is killed (daemon/agents/agent_lock.h). So two agents never send at once.
// What an agent says is taken as hostile: bounded, in its form, and only about jobs that it holds, with the
// attempt under which it holds them; anything else is dropped, and nonsense ends the agent. Contents and
// passwords go through here and never into a log.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <uv.h>

#include "core/delivery.h"
#include "core/log.h"
#include "daemon/agents/agent_lock.h"
#include "daemon/agents/agent_process.h"
#include "daemon/loop/handles.h"

namespace mailotp::daemon {

// A job whose agent is gone.
struct LostJob {
  core::AttemptKey key;
  bool dot_possible = false;  // its last fact was JobDotNext: the relay may have the mail
};

// Called on the loop thread. It may call the supervisor back, but not destroy it.
class AgentListener {
 public:
  virtual ~AgentListener() = default;
  // The agent has the lock and its hello: jobs may follow.
  virtual void on_ready(const core::AgentReady& ready) = 0;
  // Facts of jobs that the agent holds, of its relays, and of tests that were asked for. A test whose agent
  // dies ends with TestDone too.
  virtual void on_fact(core::Fact fact) = 0;
  // An agent that was ready is gone, with these jobs, maybe none. Comes before the next on_ready(); and from
  // submit() itself when there is no agent.
  virtual void on_lost(std::vector<LostJob> jobs) = 0;
};

struct AgentOptions {
  std::string name;                            // in log lines: "smtp"
  std::string program;                         // absolute
  std::string lock_path;                       // in a folder that only the daemon writes
  std::vector<std::string> environment;        // all of the child's, as "NAME=value"
  std::vector<std::string> first_environment;  // what the first child gets besides
  core::Millis backoff_first{100};             // before a restart; doubles up to backoff_most
  core::Millis backoff_most{5000};
  core::Millis steady_after{30'000};  // an agent that was ready for this long starts the backoff anew
  core::Millis lock_patience{1000};
  core::Millis hello_timeout{5000};
  core::Millis beat{2000};  // the agent must answer one in missed_beats, or is killed as silent
  int missed_beats = 5;
};

class AgentSupervisor final : private AgentProcess::Owner {
 public:
  // `make_hello` is called for each agent that is started, so it may read passwords anew. All references and
  // the loop outlive the supervisor.
  AgentSupervisor(uv_loop_t* loop, AgentOptions options, std::function<core::Hello()> make_hello,
                  AgentListener& listener, core::Log& log);
  // While stopped; the loop must run once more before it is closed.
  ~AgentSupervisor() override;
  AgentSupervisor(const AgentSupervisor&) = delete;
  AgentSupervisor& operator=(const AgentSupervisor&) = delete;

  // While stopped.
  void start();
  [[nodiscard]] bool ready() const { return state_ == State::ready; }
  // Jobs that the agent has and has not ended.
  [[nodiscard]] std::size_t held() const { return held_.size(); }

  // Without an agent that is ready the job is lost at once. One that is too large for the channel ends as
  // JobNotSent.
  void submit(core::Job job);
  // Best effort.
  void cancel(const core::AttemptKey& key);
  // A new password is dropped without an agent: the next hello brings it.
  void set_password(core::SetPassword order);
  void test(core::TestRelay order);

  // The agent takes no more jobs, has `grace` for those past the dot, and ends; then `done`, once, with every
  // handle closing and no process left. Facts and on_lost() come until then. The supervisor may be destroyed
  // in `done`, or started again after it. While stopped, and for an agent that is not ready: as stop_now().
  void drain(core::Millis grace, std::function<void()> done);
  // The same, by SIGKILL. While stopped `done` is called at once.
  void stop_now(std::function<void()> done);

 private:
  enum class State : std::uint8_t {
    stopped,
    waiting_for_lock,
    starting,
    ready,
    draining,
    dying,    // killed, or about to end by itself
    resting,  // before a restart
  };
  struct Held {
    std::uint32_t attempt = 0;
    bool dot_next = false;
  };

  void on_frame(std::string_view frame) override;
  void on_nonsense(const core::Error& error) override;
  void on_gone(const AgentExit& exit) override;

  void on_timer();
  void on_beat();
  void wait_for_lock();
  void try_lock();
  void kill_old_agent();
  void start_agent();
  void rest();
  void end_agent(std::string_view reason);
  void take_fact(core::Fact fact);
  void take_ready(const core::AgentReady& ready);
  void take_log(const core::AgentLog& line);
  [[nodiscard]] bool is_ours(const core::AttemptKey& key);
  void drop(std::string_view why);
  void stop_when_gone(std::function<void()> done);
  void finish();
  void log(core::LogLevel level, std::string_view event, std::string_view rest = {});

  uv_loop_t* loop_;
  AgentOptions options_;
  std::function<core::Hello()> make_hello_;
  AgentListener& listener_;
  core::Log& log_;
  AgentLock lock_;

  State state_ = State::stopped;
  std::optional<Timer> timer_;  // what it means depends on the state
  std::optional<Timer> beat_;
  std::vector<std::function<void()>> done_;  // not empty: asked to stop
  core::Millis backoff_;
  std::uint64_t lock_asked_at_ = 0;  // uv_now()
  bool old_agent_killed_ = false;

  // Of the agent that runs.
  std::unique_ptr<AgentProcess> process_;
  std::unordered_map<core::Id, Held> held_;
  std::unordered_map<std::uint32_t, int> tests_;  // asked for and not done, with their steps so far
  std::set<std::string, std::less<>> relays_;
  std::uint64_t ready_at_ = 0;  // uv_now(); 0: it was not
  bool believed_ = false;       // until it broke a rule
  bool drop_logged_ = false;
  int beats_missed_ = 0;
  int log_lines_ = 0;  // since the last beat
};

}  // namespace mailotp::daemon
