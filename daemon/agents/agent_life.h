// Keeps one agent alive: what every agent needs, whatever it is for. Loop thread only.
//
//   stopped ─start─► waiting_for_lock ─► starting ─hello answered─► ready ─drain, renew─► draining
//                          ▲                 └───────────┬──────────┴────────────────┘
//                       resting ◄────────────────── the agent is dead ──(if asked to stop)──► stopped
//
// No agent is started before the lock of the one before is free, be it one of a daemon that was killed: after
// lock_patience its process is killed (daemon/agents/agent_lock.h). So two agents never work at once. A
// silent agent, and one that talks nonsense, is killed and followed by another one after a growing pause.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <uv.h>

#include "core/delivery.h"
#include "core/log.h"
#include "core/result.h"
#include "core/secret.h"
#include "daemon/agents/agent_lock.h"
#include "daemon/agents/agent_process.h"
#include "daemon/loop/handles.h"

namespace mailotp::daemon {

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

class AgentLife final : private AgentProcess::Owner {
 public:
  // Who knows what this agent is for. Called on the loop thread; it may call the life back, but not destroy
  // it.
  class Owner {
   public:
    virtual ~Owner() = default;
    // For an agent that is started now.
    [[nodiscard]] virtual core::Result<core::Secret> hello_frame() = 0;
    // One that is not empty, of an agent that has broken no rule. Valid during the call.
    virtual void on_frame(std::string_view frame) = 0;
    // For the line about its end: "held=2".
    [[nodiscard]] virtual std::string what_it_held() const = 0;
    enum class Was : std::uint8_t {
      never_ready,
      ready,
      renewed,  // … and ended because renew() asked it to
    };
    virtual void on_gone(Was was) = 0;
  };

  AgentLife(uv_loop_t* loop, AgentOptions options, Owner& owner, core::Log& log);
  // While stopped; the loop must run once more before it is closed.
  ~AgentLife() override;
  AgentLife(const AgentLife&) = delete;
  AgentLife& operator=(const AgentLife&) = delete;

  // While stopped.
  void start();
  [[nodiscard]] bool ready() const { return state_ == State::ready; }
  // Each time that it was gone without being asked to, or could not be started.
  [[nodiscard]] std::uint64_t restarts() const { return restarts_; }
  // For who watches: how often an agent has said something, ever. Absent while there is none to say anything:
  // it is dead and another one comes, or it starts or drains, which have deadlines of their own.
  [[nodiscard]] std::optional<std::uint64_t> signs_of_life() const;

  // ---- What the owner makes of a frame

  // Everything begins with one AgentReady, and there is one only. False: it was not so, and the agent is
  // being killed.
  [[nodiscard]] bool begins_well(bool is_ready_fact);
  // True: it is ready from here on. False: it is being killed.
  [[nodiscard]] bool take_ready(const core::AgentReady& ready);
  void take_log(const core::AgentLog& line);
  // What it said cannot be true now: it is not obeyed. Logged once an agent: it must not fill the log.
  void drop(std::string_view why);
  // What it said is no fact at all, or breaks the protocol: it is killed, and not listened to any more.
  void end_for(const core::Error& error);

  // ---- What it is told

  // While it is ready.
  void send(core::Secret frame);
  // What was sent leaves at once, not at the end of the loop's turn.
  void flush();
  void log(core::LogLevel level, std::string_view event, std::string_view rest = {});

  // What its hello said has changed: `order` asks it to end, within `grace`, and another one follows at once.
  // One that is not ready holds nothing and is followed by another hello anyway. While stopped, and for one
  // that ends already: nothing.
  void renew(core::Secret order, core::Millis grace);

  // `order` is the frame that asks it to end: it has `grace` for that, then `done`, once, with every handle
  // closing and no process left. The life may be destroyed in `done`, or started again after it. While
  // stopped, and for an agent that is not ready: as stop_now().
  void drain(core::Secret order, core::Millis grace, std::function<void()> done);
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
  void follow();
  void end_agent(std::string_view reason);
  void stop_when_gone(std::function<void()> done);
  void finish();

  uv_loop_t* loop_;
  AgentOptions options_;
  Owner& owner_;
  core::Log& log_;
  AgentLock lock_;

  State state_ = State::stopped;
  std::optional<Timer> timer_;  // what it means depends on the state
  std::optional<Timer> beat_;
  std::vector<std::function<void()>> done_;  // not empty: asked to stop
  core::Millis backoff_;
  std::uint64_t restarts_ = 0;
  std::uint64_t frames_ = 0;         // of all agents there were
  std::uint64_t lock_asked_at_ = 0;  // uv_now()
  bool old_agent_killed_ = false;

  // Of the agent that runs.
  std::unique_ptr<AgentProcess> process_;
  std::uint64_t ready_at_ = 0;  // uv_now(); 0: it was not
  bool believed_ = false;       // until it broke a rule
  bool renewing_ = false;       // it was asked to end, for another one
  bool drop_logged_ = false;
  int beats_missed_ = 0;
  int log_lines_ = 0;  // since the last beat
};

}  // namespace mailotp::daemon
