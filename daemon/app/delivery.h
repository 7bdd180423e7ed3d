// Between the store and the SMTP agent: jobs that a commit claimed go out, facts come back as commands. Keeps
// the balance of how many jobs the store may hand out (relay_window.h). Loop thread.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/log.h"
#include "daemon/agents/supervisor.h"
#include "daemon/api/event_streams.h"
#include "daemon/api/health.h"
#include "daemon/api/in_force.h"
#include "daemon/api/relay_tests.h"
#include "daemon/api/waits.h"
#include "daemon/app/bounce_log.h"
#include "daemon/app/relay_board.h"
#include "daemon/app/relay_window.h"
#include "daemon/metrics/tally.h"
#include "daemon/state/store_thread.h"

namespace mailotp::daemon {

class Delivery final : public AgentListener, public StoreThread::Observer {
 public:
  // `fatal`: the disk has failed, the process must end.
  Delivery(const InForce& in_force, Health& health, Tally& tally, core::Log& log,
           std::function<void()> fatal);

  // The parts that need each other; before anything runs.
  void connect(StoreThread& store, AgentSupervisor& agent, RelayBoard& board, Waits& waits,
               EventStreams& events, RelayTests& tests, BounceLog& bounces);
  // The agent is to have another hello: what it holds is settled first, and nothing new is handed out before
  // the next one is ready.
  void renew_agent(core::Millis dot_timeout);
  // Nothing new is handed out from here on.
  void stop_claiming();

  void on_ready(const core::AgentReady& ready) override;
  void on_fact(core::Fact fact) override;
  void on_lost(std::vector<LostJob> lost) override;

  void on_commit(const core::Committed& committed, const StoreThread::CommitCost& cost) override;
  void on_changes(const std::vector<core::Change>& changes) override;
  void on_jobs(std::vector<core::Job> jobs) override;
  void on_bounces(const std::vector<core::BounceNews>& bounces) override;
  void on_events() override;
  void on_brakes(const std::vector<core::BrakeNews>& brakes) override;
  void on_store_health(const core::Result<>& health) override;

 private:
  // A job that the agent has.
  struct Out {
    std::string relay;
    std::chrono::steady_clock::time_point since;
  };
  void settle(const core::AttemptKey& key, AttemptEnd end, int reply_code, core::Fact fact);
  // How many places a relay has again after the end of one of its jobs.
  int places_after(const Out& out, AttemptEnd end);

  const InForce& in_force_;
  Health& health_;
  Tally& tally_;
  core::Log& log_;
  std::function<void()> fatal_;
  StoreThread* store_ = nullptr;
  AgentSupervisor* agent_ = nullptr;
  RelayBoard* board_ = nullptr;
  Waits* waits_ = nullptr;
  EventStreams* events_ = nullptr;
  RelayTests* tests_ = nullptr;
  BounceLog* bounces_ = nullptr;
  std::unordered_map<core::Id, Out> out_;
  std::unordered_map<std::string, RelayWindow> windows_;  // of the relays of the agent that is ready
  bool claiming_ = true;
  bool renewing_ = false;  // until an agent is ready
};

}  // namespace mailotp::daemon
