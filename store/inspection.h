// What can be said of a state folder and its database from outside, whether a daemon runs or not. Changes
// nothing: no lock, no new file, no migration. Blocking.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "core/result.h"

namespace mailotp::store {

enum class FolderUse : std::uint8_t {
  unused,     // no daemon was ever here, or the last one stopped in good order
  running,    // a daemon has it
  left_open,  // the last one did not stop in good order: the next start reads its log
};
struct FolderLook {
  FolderUse use = FolderUse::unused;
  pid_t pid = 0;  // of the daemon that runs, and its user
  std::optional<uid_t> uid;
};
// Errc::io: the lock file is there and cannot be read.
[[nodiscard]] core::Result<FolderLook> look_at_folder(const std::string& state_dir);

// Larger ones are not read from end to end: it would take long, and keep the log from being emptied.
inline constexpr std::int64_t k_most_checked = 256LL << 20;  // bytes

struct Inspection {
  std::int64_t bytes = 0;
  std::int64_t schema = 0;  // 0: nothing was ever written to it
  std::int64_t newest = 0;  // that this program knows
  bool checked = false;     // every page, by quick_check
  // The keys that open challenges and unsent messages need; not known of an older schema.
  std::vector<std::string> keys_needed;  // 8 hexadecimal digits each
};
// Errc::not_found: there is no database yet. Errc::invalid: it is another program's; Errc::unsupported: a
// newer mailotpd wrote it; Errc::corrupt: it is damaged, or its log is gone; else what the system says.
[[nodiscard]] core::Result<Inspection> inspect(const std::string& state_dir, FolderUse use);

}  // namespace mailotp::store
