// What the files of a state folder say before the database is opened.
#pragma once

#include <string>

#include "core/result.h"
#include "store/lock.h"

namespace mailotp::store {

[[nodiscard]] std::string database_in(const std::string& state_dir);

// Errc::corrupt when the log is missing that the last run has left, or when the log is one of another
// database: SQLite would take the one for whole, and write the other into a snapshot that was put in its
// place.
[[nodiscard]] core::Result<> check_files(const StateLock& lock, const std::string& state_dir);

}  // namespace mailotp::store
