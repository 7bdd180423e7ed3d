// What an agent gives up before it meets the network: inherited descriptors, privileges, core dumps, and by
// Landlock (Linux 5.19 and later) every file but the few that it needs. Knows nothing of SMTP: both agents
// use it. All of it holds for the calling thread and the threads that it starts later, so it is called before
// there are others. It cannot be undone.
//
// Not covered, because the Landlock of Debian 12's kernel has no word for it: truncate(2), chmod(2) and
// connect(2) to a Unix socket follow the ordinary permissions.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/delivery.h"
#include "core/result.h"

namespace mailotp::mail {

// Closes every descriptor but 0, 1, 2 and `keep`. Errc::io.
[[nodiscard]] core::Result<> close_all_but(std::span<const int> keep);

// no_new_privs, not dumpable (nobody of the same user reads its memory), no core file. Errc::io.
[[nodiscard]] core::Result<> give_up_privileges();

// Absolute paths; a folder stands for all below it. One that cannot be opened now is left out: less access,
// never more.
struct FileRules {
  std::vector<std::string> read;   // files and folders to read
  std::vector<std::string> write;  // folders in which files are made, renamed, removed; not read
};

// Leaves the process nothing but `rules` and the descriptors that it has. Confinement::no_landlock: the
// kernel does not offer it and nothing has changed. Errc::io: it does, and refused; do not go on.
[[nodiscard]] core::Result<core::Confinement> confine_files(const FileRules& rules);

// What name resolution and certificate checks read: resolver files, the C library's modules, the system's
// CAs.
[[nodiscard]] std::vector<std::string> resolver_and_ca_files();

}  // namespace mailotp::mail
