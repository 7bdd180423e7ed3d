// The schema, as numbered steps that are never edited after they have landed. PRAGMA user_version is the
// number of the last one that a database has seen.
#pragma once

#include <cstdint>
#include <span>

#include "core/result.h"
#include "store/sqlite.h"

namespace mailotp::store {

[[nodiscard]] std::span<const char* const> migrations();

// Brings the database up to date, a transaction for each step. A snapshot stays one. Errc::unsupported: its
// schema is newer than this program; Errc::invalid: it is another program's.
[[nodiscard]] core::Result<> migrate(Connection& db);
// The number of the last step that it has seen, 0 for an empty one; or the errors of migrate(). Changes
// nothing.
[[nodiscard]] core::Result<std::int64_t> known_schema(Connection& db);
// For a reader: the schema is exactly this program's, or the errors of migrate().
[[nodiscard]] core::Result<> check_schema(Connection& db);

}  // namespace mailotp::store
