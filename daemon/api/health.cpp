#include "daemon/api/health.h"

#include <algorithm>
#include <utility>

namespace mailotp::daemon {

Health::Health(const core::Config& config) {
  view_.mode = config.daemon.mode == core::Mode::development ? "development" : "production";
  view_.store = "ok";
  view_.bounces = "off";
}

void Health::store_is(const core::Result<>& health) {
  view_.store = health ? "ok" : "failing";
  derive();
}

void Health::relays_are(std::vector<ReadyView::Relay> relays) {
  view_.relays = std::move(relays);
  derive();
}

void Health::derive() {
  view_.ready = view_.store == "ok" &&
                std::ranges::any_of(view_.relays, [](const auto& relay) { return relay.state != "down"; });
}

}  // namespace mailotp::daemon
