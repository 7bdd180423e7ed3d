// The operators' calls about what is kept, and under which keys: erasure, keys, reload. Loop thread.
#pragma once

#include "daemon/api/router.h"
#include "daemon/api/services.h"

namespace mailotp::daemon {

void add_upkeep_api(Router& router, Services& services);

}  // namespace mailotp::daemon
