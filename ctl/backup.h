// mailotpctl backup: a snapshot of the daemon's database in a file of its own.
#pragma once

#include <cstdint>
#include <string>

#include "ctl/daemon_client.h"
#include "ctl/exit_code.h"

namespace mailotp::ctl {

struct BackupDone {
  std::uint64_t bytes = 0;
  double seconds = 0;
};

// `file` must not exist, and is there only when the snapshot is whole and on the disk; until then it is
// beside it, as "FILE.part". Mode 0600. SIGINT, SIGTERM and SIGHUP end it in good order. Tells how far it is
// on stderr.
[[nodiscard]] Attempt<BackupDone> back_up(DaemonClient& client, const std::string& file);

// A line for people.
[[nodiscard]] std::string show_backup(const std::string& file, const BackupDone& done);

}  // namespace mailotp::ctl
