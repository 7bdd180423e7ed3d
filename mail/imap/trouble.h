// Why the mailbox cannot be read, as the daemon is told (core::MailboxFact).
#pragma once

#include <string>
#include <utility>

#include "core/mailbox.h"
#include "core/result.h"
#include "mail/agent/tls.h"

namespace mailotp::mail {

struct Trouble {
  std::string step;  // as MailboxFact names them
  std::string reason;
  core::RelayTrouble kind = core::RelayTrouble::ordinary;
};

template <class T = void>
using Tried = tl::expected<T, Trouble>;

[[nodiscard]] inline tl::unexpected<Trouble> trouble(std::string step, const core::Error& error) {
  const bool certificate = error.what.starts_with(k_certificate_refused);
  return tl::unexpected(
      Trouble{std::move(step), error.what,
              certificate ? core::RelayTrouble::certificate : core::RelayTrouble::ordinary});
}

}  // namespace mailotp::mail
