#include "daemon/api/health.h"

#include <algorithm>
#include <utility>

namespace mailotp::daemon {

Health::Health(const core::Config& config) {
  view_.mode = config.daemon.mode == core::Mode::development ? "development" : "production";
  view_.store = "ok";
  mailbox_is(config.bounces ? MailboxCondition::down : MailboxCondition::off);
}

void Health::store_is(const core::Result<>& health) {
  view_.store = health ? "ok" : "failing";
  derive();
}

void Health::relays_are(std::vector<ReadyView::Relay> relays) {
  view_.relays = std::move(relays);
  derive();
}

// Mail is sent without it: it is no part of ready.
void Health::mailbox_is(MailboxCondition condition) {
  switch (condition) {
    case MailboxCondition::off:
      view_.bounces = "off";
      break;
    case MailboxCondition::up:
      view_.bounces = "up";
      break;
    case MailboxCondition::down:
      view_.bounces = "down";
      break;
  }
}

void Health::brake_is(const std::string& app, bool on) {
  std::erase(view_.braked, app);
  if (on) view_.braked.push_back(app);
}

void Health::derive() {
  view_.ready = view_.store == "ok" &&
                std::ranges::any_of(view_.relays, [](const auto& relay) { return relay.state != "down"; });
}

}  // namespace mailotp::daemon
