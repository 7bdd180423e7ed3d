// What the machine gives: room, time, confinement, the programs that come with mailotpd. Blocking.
#pragma once

#include "daemon/diagnosis/finding.h"
#include "daemon/diagnosis/site.h"

namespace mailotp::daemon {

[[nodiscard]] Finding check_disk(const Site& site);
[[nodiscard]] Finding check_clock();
// Whether the kernel can keep the agents from files (mail/agent/confine.h).
[[nodiscard]] Finding check_confinement();
[[nodiscard]] Finding check_programs(const Site& site);

}  // namespace mailotp::daemon
