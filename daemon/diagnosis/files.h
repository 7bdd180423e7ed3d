// The files and folders of an installation: are they there, whose are they, who else may use them. Nothing is
// changed; a secret is read to see that it can be used, and not shown. Blocking.
#pragma once

#include <string>
#include <vector>

#include "daemon/diagnosis/finding.h"
#include "daemon/diagnosis/site.h"

namespace mailotp::daemon {

// `needed`: ids of the keys that the database needs.
[[nodiscard]] Finding check_key_file(const Site& site, const std::vector<std::string>& needed);
// One a relay that has a password, and that of the bounce mailbox.
[[nodiscard]] std::vector<Finding> check_password_files(const Site& site);
[[nodiscard]] Finding check_state_folder(const Site& site);
// One a socket: api-socket, admin-socket, metrics-socket, app-socket. The subject is its path.
[[nodiscard]] std::vector<Finding> check_sockets(const Site& site);

}  // namespace mailotp::daemon
