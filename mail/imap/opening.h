// From a name to a connection on which IMAP can be spoken: DNS, TCP, TLS, the server's greeting, and STARTTLS
// (RFC 9051 section 6.2.1) by lines of our own, because libetpan's TLS verifies nothing.
#pragma once

#include <memory>
#include <string>

#include "core/mailbox.h"
#include "mail/imap/name_lookup.h"
#include "mail/imap/stop_signal.h"
#include "mail/imap/trouble.h"
#include "mail/imap/wire.h"

namespace mailotp::mail {

// The greeting has been read; TLS is on as `settings` demand. No TLS only to a loopback address. Step "dns",
// "connect", "tls", "greeting" or "starttls". What a server sends in plain text behind its answer to STARTTLS
// was put there by somebody else, and ends the connection.
[[nodiscard]] Tried<std::unique_ptr<Wire>> open_wire(const core::MailboxSettings& settings,
                                                     const core::MailboxLimits& limits, NameLookup& names,
                                                     const StopSignal& stop);

}  // namespace mailotp::mail
