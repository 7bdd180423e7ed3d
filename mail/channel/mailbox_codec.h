// What the daemon and the IMAP agent say to each other (core/mailbox.h) as frames, as codec.h has them for
// the SMTP agent: the same length, beats, bounds and strictness. The kinds have numbers of their own, so no
// frame of one agent is taken for one of the other; only drain, ready and log are the same for both.
#pragma once

#include <string>
#include <string_view>

#include "core/mailbox.h"
#include "core/result.h"
#include "core/secret.h"
#include "mail/channel/codec.h"

namespace mailotp::channel {

// Length and frame; wiped when it goes: an order may hold a password. Errc::invalid: more moves or poison
// than k_mails_a_fact, or larger than k_max_frame.
[[nodiscard]] core::Result<core::Secret> encode_mailbox_order(const core::MailboxOrder& order);
// At most k_max_fact bytes after the length, whatever is in it: words are cut to their bounds and made
// printable, a token that is too long or not printable is left out, and so is everything beyond the bounds of
// core/bounce.h and k_mails_a_fact.
[[nodiscard]] std::string encode_mailbox_event(const core::MailboxEvent& event);

// `frame` is what follows the length. Errc::malformed. No uid and no uidvalidity in it is 0 (RFC 9051: both
// are nz-number); uidnext is 0 where the server did not say.
[[nodiscard]] core::Result<core::MailboxOrder> decode_mailbox_order(std::string_view frame);
[[nodiscard]] core::Result<core::MailboxEvent> decode_mailbox_event(std::string_view frame);

}  // namespace mailotp::channel
