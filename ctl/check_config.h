#pragma once

#include <string>

#include "ctl/exit_code.h"

namespace mailotp::ctl {

// Becomes `mailotpd --check --config FILE`, found beside this program, in sbin of the same prefix, or in
// /usr/sbin; its exit code (0, or 78 for a bad file) is then this program's. Returns only when there is no
// such program.
[[nodiscard]] Failure become_config_check(const std::string& file);

}  // namespace mailotp::ctl
