// The apps' socket: challenges, the short form, messages. Loop thread.
#pragma once

#include "daemon/api/router.h"
#include "daemon/api/services.h"

namespace mailotp::daemon {

// Adds the calls of the apps' socket to `router`; `services` outlives it.
void add_apps_api(Router& router, Services& services);

}  // namespace mailotp::daemon
