// Erasure of an address: see core::Erase.
#pragma once

#include "store/transaction.h"

namespace mailotp::store {

[[nodiscard]] core::Result<core::Answer> erase(Transaction& tx, const core::Erase& command);

// At a clean stop, after an erasure: writes all pages anew. Where SQLite has split or merged a page a copy of
// a row may lie between others, which secure_delete does not know of (measured: some addresses of a thousand
// in a table of five thousand rows). Takes about a second for each 100 MiB; without room it is left to the
// next stop.
[[nodiscard]] core::Result<> vacuum_if_erased(Writer& writer);

}  // namespace mailotp::store
