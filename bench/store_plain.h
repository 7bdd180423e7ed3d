// Sends as bare rows: SQLite's C functions and the store's own statements, without sealing, JSON, reads and
// decisions. What is left is what rows and syncs cost: the ceiling of any store with this schema.
#pragma once

#include <memory>
#include <string>

#include "bench/store_sends.h"

namespace mailotp::bench {

// On a database that the store has made. Errc::unsupported: a statement asks for other values than it used
// to.
[[nodiscard]] core::Result<std::unique_ptr<SendWriter>> open_plain(const std::string& folder);

}  // namespace mailotp::bench
