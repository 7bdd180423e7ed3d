// Where the checks look: a configuration that could be read, the state folder's use, and whose files they
// should be.
#pragma once

#include <string>

#include <sys/stat.h>
#include <sys/types.h>

#include "core/config.h"
#include "core/result.h"
#include "daemon/diagnosis/finding.h"
#include "store/inspection.h"

namespace mailotp::daemon {

struct Site {
  const core::Config& config;
  core::Result<store::FolderLook> folder;
  // Who mailotpd runs as, as far as it can be told: the daemon that runs, else the owner of its folder, else
  // who asks.
  uid_t owner;
};
[[nodiscard]] Site look_at_site(const core::Config& config);

[[nodiscard]] bool is_running(const Site& site);

// "mailotpd", or the number of an account that has no name.
[[nodiscard]] std::string name_of_user(uid_t uid);
// "0640".
[[nodiscard]] std::string shown_mode(mode_t mode);
// "64 MiB".
[[nodiscard]] std::string shown_size(std::int64_t bytes);

// Of what only root, or mailotpd's user, may look at.
[[nodiscard]] Finding unseen(std::string check, std::string subject);

}  // namespace mailotp::daemon
