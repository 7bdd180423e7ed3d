// GET /v1/timeline, on the operators' socket.
#pragma once

#include "daemon/api/router.h"
#include "daemon/api/services.h"

namespace mailotp::daemon {

void add_timeline_api(Router& router, Services& services);

}  // namespace mailotp::daemon
