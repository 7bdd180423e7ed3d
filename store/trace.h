// Which of our mails a report is about: its tokens are checked with the key, and looked up.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "store/transaction.h"

namespace mailotp::store {

// As they came back, unverified.
struct TokensFound {
  std::vector<std::string> of_messages;  // envelope ids, Message-IDs, headers
  std::vector<std::string> tags;         // of the return path: of a recipient or of a message
};
[[nodiscard]] TokensFound tokens_of(const core::MailRead& mail);

struct Trace {
  core::Correlation correlation = core::Correlation::nothing;
  core::TracedBy by = core::TracedBy::nothing;
  std::optional<core::Id> id;            // that a token of a message names; its row may be gone
  std::optional<MessageRecord> message;  // that one, or the newest one that left for the recipient
};
[[nodiscard]] core::Result<Trace> trace(Transaction& tx, const TokensFound& found, core::WallTime at);

// A message by its id. One that cannot be read is noted, and nobody is told of it again.
[[nodiscard]] core::Result<std::optional<MessageRecord>> told_message(Transaction& tx, const core::Id& id);

}  // namespace mailotp::store
