// The ledger: what is reported of our mails, by a mail, a provider or a relay's own reply, and what follows.
#pragma once

#include "store/transaction.h"

namespace mailotp::store {

// A report about one recipient of one mail.
struct Report {
  core::BounceSource source = core::BounceSource::dsn;
  core::BounceKind kind = core::BounceKind::bounce;
  core::BouncedRecipient recipient;  // what it says of it
  std::string rule;
  core::Correlation correlation = core::Correlation::nothing;
  core::TracedBy traced_by = core::TracedBy::nothing;
  std::optional<core::Id> id;            // that a token of a message names
  std::optional<MessageRecord> message;  // that it is about
  std::optional<core::MailRead> mail = {};
};
// Writes the ledger's row and does what the rules say of it: message, challenge, evidence, suppression. An
// event of a message that is in the ledger changes nothing.
[[nodiscard]] core::Result<core::BounceRecorded> record(Transaction& tx, Report report, const Cause& cause);

[[nodiscard]] core::Result<core::Answer> report_bounce(Transaction& tx, const core::ReportBounce& command);
// The message has just ended as `failed`: a relay's own 5yz about its recipient needs no token.
[[nodiscard]] core::Result<> record_refusal(Transaction& tx, const MessageRecord& message,
                                            const Cause& cause);

}  // namespace mailotp::store
