// The bounce mailbox: which of its mails are known, what became of them, and which are still to be moved.
#pragma once

#include "store/transaction.h"

namespace mailotp::store {

[[nodiscard]] core::Result<core::Answer> open_mailbox(Transaction& tx, const core::OpenMailbox& command);
[[nodiscard]] core::Result<core::Answer> record_mail(Transaction& tx, const core::RecordMail& command);
[[nodiscard]] core::Result<core::Answer> record_poison(Transaction& tx, const core::RecordPoison& command);
[[nodiscard]] core::Result<core::Answer> record_moved(Transaction& tx, const core::RecordMoved& command);

}  // namespace mailotp::store
