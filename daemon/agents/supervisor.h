// The SMTP agent: hands it jobs and listens to it. Loop thread only.
//
// What the agent says is taken as hostile: bounded, in its form, and only about jobs that it holds, with the
// attempt under which it holds them; anything else is dropped, and nonsense ends the agent. Contents and
// passwords go through here and never into a log. Its life is daemon/agents/agent_life.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <uv.h>

#include "core/delivery.h"
#include "core/log.h"
#include "daemon/agents/agent_life.h"
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

class AgentSupervisor final : private AgentLife::Owner {
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
  void start() { life_.start(); }
  [[nodiscard]] bool ready() const { return life_.ready(); }
  [[nodiscard]] std::uint64_t restarts() const { return life_.restarts(); }
  [[nodiscard]] std::optional<std::uint64_t> signs_of_life() const { return life_.signs_of_life(); }
  // Jobs that the agent has and has not ended.
  [[nodiscard]] std::size_t held() const { return held_.size(); }

  // Without an agent that is ready the job is lost at once. One that is too large for the channel ends as
  // JobNotSent.
  void submit(core::Job job);
  // Jobs that were submitted leave now, before whatever else the loop does in this turn.
  void flush() { life_.flush(); }
  // Best effort.
  void cancel(const core::AttemptKey& key);
  // A new password is dropped without an agent: the next hello brings it.
  void set_password(core::SetPassword order);
  void test(core::TestRelay order);

  // What `make_hello` says has changed: once the agent holds no job, or after `patience`, it is asked to end,
  // with `grace` for what is past the dot, and another one follows: on_lost(), then on_ready(). To be called
  // when no more jobs are on their way. Without an agent that is ready the next one has the new hello anyway.
  void renew(core::Millis patience, core::Millis grace);

  // The agent takes no more jobs, has `grace` for those past the dot, and ends; then `done`, once, with every
  // handle closing and no process left. Facts and on_lost() come until then. The supervisor may be destroyed
  // in `done`, or started again after it. While stopped, and for an agent that is not ready: as stop_now().
  void drain(core::Millis grace, std::function<void()> done);
  // The same, by SIGKILL. While stopped `done` is called at once.
  void stop_now(std::function<void()> done);

 private:
  struct Held {
    std::uint32_t attempt = 0;
    bool dot_next = false;
  };

  [[nodiscard]] core::Result<core::Secret> hello_frame() override;
  void on_frame(std::string_view frame) override;
  [[nodiscard]] std::string what_it_held() const override;
  void on_gone(Was was) override;

  void take_fact(core::Fact fact);
  void renew_now();
  [[nodiscard]] bool is_ours(const core::AttemptKey& key);

  std::function<core::Hello()> make_hello_;
  AgentListener& listener_;

  // Of the agent that runs.
  std::unordered_map<core::Id, Held> held_;
  std::unordered_map<std::uint32_t, int> tests_;  // asked for and not done, with their steps so far
  std::set<std::string, std::less<>> relays_;

  AgentLife life_;
  Timer patience_;
  std::optional<core::Millis> renewing_;  // once no job is held: the grace
};

}  // namespace mailotp::daemon
