// mailotpd --diagnose: what can be seen of an installation without its daemon, and while one runs. Changes
// nothing: no lock, no new file, the database is only read. Blocking, a process of its own.
#pragma once

#include <string>
#include <vector>

#include "daemon/app/app.h"
#include "daemon/diagnosis/finding.h"

namespace mailotp::daemon {

// With a configuration that cannot be used its own findings are all there is, one a mistake.
[[nodiscard]] std::vector<Finding> diagnose(const std::string& config_path);

// Prints them on stdout, one a line of JSON. bad_configuration when one has failed.
[[nodiscard]] ExitCode print_diagnosis(const std::string& config_path);

}  // namespace mailotp::daemon
