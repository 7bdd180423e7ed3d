#include "daemon/api/health.h"

#include <algorithm>

namespace mailotp::daemon {

Health::Health(const core::Config& config) {
  view_.mode = config.daemon.mode == core::Mode::development ? "development" : "production";
  view_.store = "ok";
  view_.bounces = "off";
  for (const core::RelayConfig& relay : config.relays)
    view_.relays.push_back({relay.name, "down", "not connected yet", {}, 0});
}

void Health::store_is(const core::Result<>& health) {
  view_.store = health ? "ok" : "failing";
  derive();
}

void Health::agent_is(core::RelayCondition condition, core::WallTime now) {
  for (ReadyView::Relay& relay : view_.relays) {
    relay.state = condition == core::RelayCondition::up ? "up" : "down";
    relay.connections = 0;
    if (condition == core::RelayCondition::up) {
      if (!relay.last_error_at) relay.last_error.clear();
    } else {
      relay.last_error = "the sending process is not running";
      relay.last_error_at = now;
    }
  }
  derive();
}

Health::News Health::relay_is(const core::RelayFact& fact, core::WallTime now) {
  const auto relay = std::ranges::find(view_.relays, fact.relay, &ReadyView::Relay::name);
  if (relay == view_.relays.end()) return News::no;
  const std::string before = relay->state + relay->last_error;
  relay->state = fact.condition == core::RelayCondition::up ? "up" : "down";
  relay->connections = fact.connections;
  if (fact.condition == core::RelayCondition::down) {
    relay->last_error = std::string(core::to_string(fact.stage)) + ": " + fact.reason;
    relay->last_error_at = now;
  }
  derive();
  return relay->state + relay->last_error == before ? News::no : News::yes;
}

void Health::derive() {
  view_.ready = view_.store == "ok" &&
                std::ranges::any_of(view_.relays, [](const auto& relay) { return relay.state != "down"; });
}

}  // namespace mailotp::daemon
