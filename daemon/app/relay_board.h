// What is known of each relay: its breaker, whether the operator suspended it, what it said last. From that
// follows which relays the store may hand messages to, when one is probed, and what /readyz and
// GET /v1/relays tell. Loop thread.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <uv.h>

#include "core/breaker.h"
#include "core/config.h"
#include "core/log.h"
#include "core/random.h"
#include "daemon/api/health.h"
#include "daemon/loop/handles.h"

namespace mailotp::daemon {

class RelayBoard {
 public:
  struct Links {
    std::function<void(core::TestRelay)> probe;  // the agent answers each with TestDone, also when it dies
    std::function<void(std::vector<core::RelayOffer>)> offer;  // to the store
    std::function<void()> back;  // a relay works again: what waits for one is due
  };

  RelayBoard(uv_loop_t* loop, const core::Config& config, Health& health, core::RandomSource& random,
             core::Log& log);
  // `suspended`: the operator's word from before the start. Before anything else.
  void connect(Links links, const std::vector<std::string>& suspended);
  // Other relays, or others of their settings. Of one that is the same server all that is known stays; an
  // operator's word stays with the name.
  void take_over(const core::Config& config);
  // No more probes.
  void stop();

  void agent_is(core::RelayCondition condition);
  // It is gone because another one follows: no error of a relay.
  void agent_renews();
  void on_fact(const core::RelayFact& fact);
  // A relay has answered a message, with whatever: it works.
  void on_answer(std::string_view relay);
  // Whether it was a probe of ours.
  bool on_step(const core::TestStep& step);
  bool on_test_done(const core::TestDone& done);

  void suspend(std::string_view relay, bool suspended);
  // Its password has changed.
  void reset(std::string_view relay);

 private:
  struct Relay {
    Relay(const core::RelayConfig& its_config, const core::BreakerPolicy& policy)
        : config(its_config), breaker(policy) {}
    core::RelayConfig config;
    core::Breaker breaker;
    bool suspended = false;
    std::uint32_t probe = 0;  // the test that runs; 0: none
    std::string saw;          // by the probe, where it failed
    std::string last_error;
    std::optional<core::WallTime> last_error_at;
    int connections = 0;
    std::string shown;  // as it was logged last
  };

  [[nodiscard]] Relay* find(std::string_view name);
  [[nodiscard]] core::RelayUse use(const Relay& relay) const;
  [[nodiscard]] bool any_usable() const;
  [[nodiscard]] core::Millis now() const { return core::Millis{static_cast<std::int64_t>(uv_now(loop_))}; }
  void failed(Relay& relay, core::RelayTrouble trouble, std::string why);
  void succeeded(Relay& relay);
  void changed();
  void tell(Relay& relay);
  void plan_probes();
  void probe_due();

  uv_loop_t* loop_;
  Health& health_;
  core::RandomSource& random_;
  core::Log& log_;
  Links links_;
  std::vector<Relay> relays_;
  Timer timer_;
  bool agent_ready_ = false;
  bool stopped_ = false;
  std::uint32_t next_probe_;
  std::set<std::string, std::less<>> suspended_;  // names; of relays that there may not be
  std::vector<core::RelayUse> offered_;
  std::optional<core::Millis> outage_since_;  // no relay can be used
};

}  // namespace mailotp::daemon
