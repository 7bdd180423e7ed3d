#include "daemon/app/delivery.h"

#include <utility>

#include <fmt/format.h>

#include "daemon/state/clock.h"

namespace mailotp::daemon {

namespace {

constexpr int k_jobs_a_connection = 2;  // one on the wire, one waiting behind it

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

}  // namespace

Delivery::Delivery(const core::Config& config, Health& health, core::Log& log, std::function<void()> fatal)
    : relay_(config.relays.front()), health_(health), log_(log), fatal_(std::move(fatal)) {}

void Delivery::connect(StoreThread& store, AgentSupervisor& agent, Waits& waits, RelayTests& tests) {
  store_ = &store;
  agent_ = &agent;
  waits_ = &waits;
  tests_ = &tests;
}

void Delivery::stop_claiming() {
  claiming_ = false;
  store_->revoke();
}

void Delivery::on_ready(const core::AgentReady& ready) {
  health_.agent_is(core::RelayCondition::up, wall_now());
  if (ready.confinement != core::Confinement::full)
    log_.write(core::LogLevel::warning,
               "event=agent_unconfined agent=smtp reason=\"the kernel has no Landlock\"");
  store_->revoke();  // what an agent before it was granted
  if (claiming_) store_->grant(relay_.name, relay_.max_connections * k_jobs_a_connection);
}

void Delivery::on_fact(core::Fact fact) {
  const auto settle = [this](core::Fact ended) {
    store_->settle(core::SettleFact{wall_now(), std::move(ended)}, claiming_ ? 1 : 0);
  };
  std::visit(
      Overloaded{
          [](const core::JobDotNext&) {},  // remembered by the supervisor, for the case that the agent dies
          [&](core::JobRelayed& ended) { settle(std::move(ended)); },
          [&](core::JobRefused& ended) { settle(std::move(ended)); },
          [&](core::JobNotSent& ended) { settle(std::move(ended)); },
          [&](core::JobUncertain& ended) { settle(std::move(ended)); },
          [&](const core::RelayFact& relay) {
            if (health_.relay_is(relay, wall_now()) == Health::News::no) return;
            if (relay.condition == core::RelayCondition::down) {
              log_.write(core::LogLevel::warning,
                         fmt::format("event=relay_down relay={} stage={} reason=\"{}\"", relay.relay,
                                     core::to_string(relay.stage), relay.reason));
            } else {
              log_.write(core::LogLevel::info, fmt::format("event=relay_up relay={}", relay.relay));
            }
          },
          [](const core::AgentReady&) {},  // on_ready(); log lines are the supervisor's too
          [](const core::AgentLog&) {},
          [&](const core::TestStep& step) { tests_->on_step(step); },
          [&](const core::TestDone& done) { tests_->on_done(done); },
      },
      fact);
}

void Delivery::on_lost(std::vector<LostJob> lost) {
  const core::WallTime now = wall_now();
  health_.agent_is(core::RelayCondition::down, now);
  store_->revoke();
  for (const LostJob& job : lost)
    store_->settle(core::SettleLost{now, job.key, job.dot_possible}, 0);
}

void Delivery::on_changes(const std::vector<core::Change>& changes) {
  waits_->on_changes(changes);
}

// One that finds no agent, because it went while the commit was under way, comes back through on_lost().
void Delivery::on_jobs(std::vector<core::Job> jobs) {
  for (core::Job& job : jobs)
    agent_->submit(std::move(job));
}

void Delivery::on_store_health(const core::Result<>& health) {
  health_.store_is(health);
  if (health) {
    log_.write(core::LogLevel::notice, "event=store_ok");
  } else {
    log_.write(core::LogLevel::error, fmt::format("event=store_failed what=\"{}\"", health.error().what));
    // After a failed write or sync the page cache may show what the disk does not have: nothing can be
    // promised any more, and the next start must look at the disk.
    if (health.error().code == core::Errc::io) fatal_();
  }
}

}  // namespace mailotp::daemon
