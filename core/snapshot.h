// What the first bytes of a database say, read without SQLite: by them a start knows a restored snapshot, and
// the tool knows that it has received a whole one. A snapshot has another application id than a database
// that is in use, so that a start on it is noticed; and a program that does not know what that means refuses
// it.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/result.h"

namespace mailotp::core {

inline constexpr std::uint32_t k_database_id = 0x6d6f7470;  // "motp"
inline constexpr std::uint32_t k_snapshot_id = 0x6d6f7473;  // "mots"
inline constexpr std::size_t k_database_header = 100;       // bytes

struct DatabaseHeader {
  std::uint32_t application_id = 0;
  std::uint64_t bytes = 0;    // of the whole file, when it is complete and has no log
  bool may_have_log = false;  // a write-ahead log may be beside it; a new snapshot has none
};
// `first`: what the file begins with. Errc::malformed when it is no database of SQLite
// (https://www.sqlite.org/fileformat2.html section 1.3) or shorter than its header.
[[nodiscard]] Result<DatabaseHeader> read_database_header(std::string_view first);

}  // namespace mailotp::core
