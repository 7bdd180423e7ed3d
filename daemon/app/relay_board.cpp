#include "daemon/app/relay_board.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "daemon/app/log_line.h"
#include "daemon/config/config_changes.h"
#include "daemon/state/clock.h"

namespace mailotp::daemon {

namespace {

// Numbers of tests: below this the operators'.
constexpr std::uint32_t k_first_probe = 0x8000'0000;

}  // namespace

RelayBoard::RelayBoard(uv_loop_t* loop, const core::Config& config, Health& health,
                       core::RandomSource& random, core::Log& log)
    : loop_(loop),
      health_(health),
      random_(random),
      log_(log),
      timer_(loop, [this] { probe_due(); }),
      next_probe_(k_first_probe) {
  for (const core::RelayConfig& relay : config.relays)
    relays_.emplace_back(relay, config.breaker);
}

void RelayBoard::connect(Links links, const std::vector<std::string>& suspended) {
  links_ = std::move(links);
  suspended_.insert(suspended.begin(), suspended.end());
  for (Relay& relay : relays_) {
    relay.suspended = suspended_.contains(relay.config.name);
    if (relay.suspended)
      log_.write(core::LogLevel::notice, fmt::format("event=relay_suspended relay={}", relay.config.name));
  }
  changed();
}

void RelayBoard::take_over(const core::Config& config) {
  std::vector<Relay> before = std::exchange(relays_, {});
  for (const core::RelayConfig& relay : config.relays) {
    const auto old = std::ranges::find(before, relay.name, [](const Relay& one) { return one.config.name; });
    if (old != before.end() && is_same_server(old->config, relay)) {
      old->config = relay;
      old->breaker.set_policy(config.breaker);
      relays_.push_back(std::move(*old));
    } else {
      relays_.emplace_back(relay, config.breaker).suspended = suspended_.contains(relay.name);
    }
  }
  offered_.clear();
  changed();
  if (links_.back) links_.back();  // what waits may have found its relay
}

void RelayBoard::stop() {
  stopped_ = true;
  timer_.stop();
}

// ---- What happens

void RelayBoard::agent_renews() {
  agent_ready_ = false;
  for (Relay& relay : relays_)
    relay.connections = 0;
  changed();
}

void RelayBoard::agent_is(core::RelayCondition condition) {
  agent_ready_ = condition == core::RelayCondition::up;
  for (Relay& relay : relays_) {
    relay.connections = 0;
    if (agent_ready_) continue;
    relay.last_error = "the sending process is not running";
    relay.last_error_at = wall_now();
  }
  changed();
}

void RelayBoard::on_fact(const core::RelayFact& fact) {
  Relay* relay = find(fact.relay);
  if (relay == nullptr) return;
  relay->connections = fact.connections;
  if (fact.condition == core::RelayCondition::up) {
    succeeded(*relay);
  } else {
    failed(*relay, fact.trouble, std::string(core::to_string(fact.stage)) + ": " + fact.reason);
  }
  changed();
}

void RelayBoard::on_answer(std::string_view name) {
  Relay* relay = find(name);
  if (relay == nullptr) return;
  const core::RelayUse before = use(*relay);
  succeeded(*relay);
  if (use(*relay) != before) changed();
}

bool RelayBoard::on_step(const core::TestStep& step) {
  const auto relay = std::ranges::find(relays_, step.test, &Relay::probe);
  if (relay == relays_.end()) return step.test >= k_first_probe;
  // Out of descriptors is our own trouble.
  if (!step.ok && step.stage != core::Stage::local)
    relay->saw = std::string(core::to_string(step.stage)) + ": " + step.saw;
  return true;
}

bool RelayBoard::on_test_done(const core::TestDone& done) {
  if (done.test < k_first_probe) return false;
  const auto relay = std::ranges::find(relays_, done.test, &Relay::probe);
  if (relay == relays_.end()) return true;
  relay->probe = 0;
  if (done.ok) {
    succeeded(*relay);
  } else if (relay->saw.empty()) {
    relay->breaker.probe_lost(now());  // the agent died
  } else {
    failed(*relay, done.trouble, relay->saw);
  }
  changed();
  return true;
}

void RelayBoard::suspend(std::string_view name, bool suspended) {
  if (suspended)
    suspended_.emplace(name);
  else
    suspended_.erase(std::string(name));
  Relay* relay = find(name);
  if (relay == nullptr) return;
  relay->suspended = suspended;
  if (!suspended) relay->breaker.reset();
  changed();
  if (!suspended && links_.back) links_.back();
}

void RelayBoard::reset(std::string_view name) {
  Relay* relay = find(name);
  if (relay == nullptr) return;
  relay->breaker.reset();
  changed();
  if (links_.back) links_.back();
}

// ---- What follows

RelayBoard::Relay* RelayBoard::find(std::string_view name) {
  const auto relay = std::ranges::find(relays_, name, [](const Relay& one) { return one.config.name; });
  return relay == relays_.end() ? nullptr : &*relay;
}

core::RelayUse RelayBoard::use(const Relay& relay) const {
  return relay.suspended ? core::RelayUse::no : relay.breaker.use();
}

bool RelayBoard::any_usable() const {
  return std::ranges::any_of(relays_,
                             [this](const Relay& relay) { return use(relay) != core::RelayUse::no; });
}

void RelayBoard::failed(Relay& relay, core::RelayTrouble trouble, std::string why) {
  relay.breaker.failed(trouble, now(), random_);
  relay.last_error = std::move(why);
  relay.last_error_at = wall_now();
}

void RelayBoard::succeeded(Relay& relay) {
  const bool was_clean = relay.breaker.use() == core::RelayUse::clean;
  relay.breaker.succeeded();
  if (!was_clean && links_.back) links_.back();
}

void RelayBoard::changed() {
  std::vector<ReadyView::Relay> view;
  std::vector<core::RelayUse> uses;
  for (Relay& relay : relays_) {
    tell(relay);
    const bool works = agent_ready_ && relay.breaker.use() == core::RelayUse::clean;
    view.push_back({.name = relay.config.name,
                    .state = relay.suspended ? "suspended"
                             : works         ? "up"
                                             : "down",
                    .breaker = std::string(core::to_string(relay.breaker.state())),
                    .last_error = relay.last_error,
                    .last_error_at = relay.last_error_at,
                    .connections = relay.connections});
    uses.push_back(use(relay));
  }
  health_.relays_are(std::move(view));
  if (any_usable()) {
    if (outage_since_)
      log_.write(core::LogLevel::notice,
                 fmt::format("event=delivery_resumed outage_ms={}", (now() - *outage_since_).count()));
    outage_since_.reset();
  } else if (!outage_since_) {
    outage_since_ = now();
    log_.write(core::LogLevel::warning, "event=delivery_stopped reason=\"no relay can be used\"");
  }
  if (std::exchange(offered_, uses) != uses && links_.offer) {
    std::vector<core::RelayOffer> offers;
    for (const Relay& relay : relays_) {
      offers.push_back({.name = relay.config.name,
                        .priority = relay.config.priority,
                        .use = use(relay),
                        .rate = relay.config.rate,
                        .quota = relay.config.quota});
    }
    links_.offer(std::move(offers));
  }
  plan_probes();
}

// A line of the log for each change that an operator would ask about; a refused password or certificate needs
// him.
void RelayBoard::tell(Relay& relay) {
  const std::string shown =
      relay.suspended ? "suspended"
      : relay.breaker.use() == core::RelayUse::clean
          ? "up"
          : fmt::format("{} {}", core::to_string(relay.breaker.state()), relay.last_error);
  if (shown == relay.shown) return;
  const bool first = relay.shown.empty();
  relay.shown = shown;
  if (relay.suspended) return;  // logged with the operator's order
  if (relay.breaker.use() == core::RelayUse::clean) {
    if (!first) log_.write(core::LogLevel::info, fmt::format("event=relay_up relay={}", relay.config.name));
    return;
  }
  log_.write(core::LogLevel::warning,
             fmt::format("event=relay_down relay={} breaker={} reason=\"{}\"", relay.config.name,
                         core::to_string(relay.breaker.state()), quotable(relay.last_error)));
}

void RelayBoard::plan_probes() {
  timer_.stop();
  if (stopped_ || !agent_ready_) return;
  const bool alone = !any_usable();
  std::optional<core::Millis> next;
  for (const Relay& relay : relays_) {
    if (relay.suspended || relay.probe != 0) continue;
    const auto at = relay.breaker.probe_at(alone);
    if (at && (!next || *at < *next)) next = at;
  }
  if (next) timer_.start(std::max(*next - now(), core::Millis{0}));
}

void RelayBoard::probe_due() {
  const bool alone = !any_usable();
  for (Relay& relay : relays_) {
    if (relay.suspended || relay.probe != 0) continue;
    const auto at = relay.breaker.probe_at(alone);
    if (!at || *at > now()) continue;
    relay.probe = next_probe_++;
    if (next_probe_ == 0) next_probe_ = k_first_probe;
    relay.saw.clear();
    relay.breaker.probing();
    links_.probe(core::TestRelay{relay.probe, relay.config.name});
  }
  changed();
}

}  // namespace mailotp::daemon
