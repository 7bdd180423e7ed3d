// The operators' socket: outbox, relays, statistics. Never a body, never a code. Loop thread.
#pragma once

#include "daemon/api/router.h"
#include "daemon/api/services.h"

namespace mailotp::daemon {

void add_admin_api(Router& router, Services& services);

}  // namespace mailotp::daemon
