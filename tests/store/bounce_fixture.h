// A store with mails that have been relayed, and reports about them.
#pragma once

#include <set>

#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

struct BounceFixture : StoreFixture {
  // A challenge whose first mail a relay has taken.
  core::ChallengeView relayed(const std::string& mailbox = "alice@example.org",
                              const std::string& app = "shop");
  core::ChallengeView sent_by(const std::string& mailbox, const std::string& app);

  // A mail to the bounce address, each with a hash and a place of its own.
  core::MailRead mail(core::BounceKind kind, core::BounceClass bounce_class = core::BounceClass::user_unknown,
                      const std::string& address = "alice@example.org");
  // … with the token of the message.
  core::MailRead about(const core::Id& message,
                       core::BounceClass bounce_class = core::BounceClass::user_unknown,
                       core::BounceKind kind = core::BounceKind::bounce);
  // … with the token of a recipient alone.
  core::MailRead to_verp(const std::string& mailbox,
                         core::BounceClass bounce_class = core::BounceClass::user_unknown);
  [[nodiscard]] std::string verp_of(const std::string& mailbox, core::WallTime at);

  core::MailFate file(const core::MailRead& mail);
  core::MailboxState state_of(core::Command command);
  core::MailboxState open_mailbox(std::uint32_t uidvalidity = 1) {
    return state_of(core::OpenMailbox{now, uidvalidity});
  }

  core::RecipientView recipient(const std::string& mailbox = "alice@example.org",
                                const std::string& app = "shop");
  std::vector<core::BounceView> bounces(const core::BounceFilter& filter = {});
  std::vector<core::SuppressionView> suppressions(const std::string& mailbox = "");
  // The state of the message, and the class of its verdict.
  std::string told(const core::Id& message);
  bool suppressed(const std::string& mailbox = "alice@example.org", const std::string& app = "shop") {
    return recipient(mailbox, app).suppressed.has_value();
  }

  std::uint32_t next_uid = 1;
  std::uint8_t next_hash = 1;
};

}  // namespace mailotp::store::test
