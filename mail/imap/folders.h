// Finds the folders for what was read, or makes them.
#pragma once

#include <string>

#include "core/result.h"
#include "mail/imap/imap_client.h"

namespace mailotp::mail {

// A mailbox name in UTF-8 as IMAP writes it (modified UTF-7, RFC 3501 section 5.1.3). Broken UTF-8 is taken
// byte by byte, as if it were Latin-1.
[[nodiscard]] std::string to_mailbox_name(std::string_view utf8);

// The name under which the server has `name` (in UTF-8): as it is, or behind the personal namespace's prefix
// ("INBOX.Processed" where all folders are below the inbox); made and subscribed when missing. Errors as
// those of ImapClient.
[[nodiscard]] core::Result<std::string> find_or_make_folder(ImapClient& client, std::string_view name);

}  // namespace mailotp::mail
