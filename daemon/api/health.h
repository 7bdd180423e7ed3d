// Whether the parts work, as /readyz tells it. Loop thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "core/delivery.h"
#include "core/result.h"
#include "daemon/api/views.h"

namespace mailotp::daemon {

enum class MailboxCondition : std::uint8_t { off, up, down };
enum class AgentCondition : std::uint8_t { down, confined, unconfined };

[[nodiscard]] inline AgentCondition condition_of(const core::AgentReady& ready) {
  return ready.confinement == core::Confinement::full ? AgentCondition::confined : AgentCondition::unconfined;
}

class Health {
 public:
  explicit Health(const core::Config& config);

  void store_is(const core::Result<>& health);
  void relays_are(std::vector<ReadyView::Relay> relays);
  void mailbox_is(MailboxCondition condition);
  // It is down, and why.
  void mailbox_failed(ReadyView::MailboxError error);
  // "smtp" or "imap".
  void agent_is(std::string_view name, AgentCondition condition);
  // Mails in it that are not ours.
  void foreign_mails_are(std::uint64_t count) { view_.foreign_mails = count; }
  // The app's sends are held by the brake, or no more.
  void brake_is(const std::string& app, bool on);

  [[nodiscard]] const ReadyView& view() const { return view_; }

 private:
  void derive();
  ReadyView view_;
};

}  // namespace mailotp::daemon
