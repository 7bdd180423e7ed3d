#include "daemon/api/health.h"

#include <algorithm>
#include <utility>

namespace mailotp::daemon {

Health::Health(const core::Config& config) {
  view_.mode = config.daemon.mode == core::Mode::development ? "development" : "production";
  view_.store = "ok";
  mailbox_is(config.bounces ? MailboxCondition::down : MailboxCondition::off);
  view_.agents.push_back({"smtp", "down"});
  if (config.bounces) view_.agents.push_back({"imap", "down"});
}

void Health::store_is(const core::Result<>& health) {
  view_.store = health ? "ok" : "failing";
  view_.store_error = health ? std::string() : health.error().what;
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
      view_.mailbox_error.reset();
      break;
    case MailboxCondition::down:
      view_.bounces = "down";
      break;
  }
}

void Health::mailbox_failed(ReadyView::MailboxError error) {
  mailbox_is(MailboxCondition::down);
  view_.mailbox_error = std::move(error);
}

void Health::agent_is(std::string_view name, AgentCondition condition) {
  const auto agent = std::ranges::find(view_.agents, name, &ReadyView::Agent::name);
  if (agent == view_.agents.end()) return;
  switch (condition) {
    case AgentCondition::down:
      agent->state = "down";
      break;
    case AgentCondition::confined:
      agent->state = "confined";
      break;
    case AgentCondition::unconfined:
      agent->state = "unconfined";
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
