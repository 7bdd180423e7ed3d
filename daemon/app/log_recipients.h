// How a recipient is named in a log line: by a keyed hash, which is the same for all spellings of an address
// and tells nothing to whoever has no key, and by the domain; in debug the address is added. Loop thread.
#pragma once

#include <string>
#include <string_view>

#include "core/log.h"
#include "core/result.h"
#include "core/secret.h"
#include "store/hmac.h"

namespace mailotp::daemon {

class LogRecipients {
 public:
  // `key`: store::KeyRing::log_key(). Another writing key gives other hashes, from the next start on.
  // Errc::internal.
  [[nodiscard]] static core::Result<LogRecipients> create(const core::Secret& key, core::LogLevel least);

  // `recipient_hash=3f6c1e0a9b2d4f58 domain=example.net`, and in debug `recipient="alice@example.net"`. What
  // is no address, for a stranger's mail may name anything, has neither domain nor address.
  [[nodiscard]] std::string fields(std::string_view mailbox);

 private:
  LogRecipients(store::Hmac hmac, bool in_full) : hmac_(std::move(hmac)), in_full_(in_full) {}

  store::Hmac hmac_;
  bool in_full_;
};

}  // namespace mailotp::daemon
