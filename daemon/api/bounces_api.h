// The operators' calls about bounces and suppressions.
#pragma once

#include "daemon/api/router.h"
#include "daemon/api/services.h"

namespace mailotp::daemon {

void add_bounces_api(Router& router, Services& services);

}  // namespace mailotp::daemon
