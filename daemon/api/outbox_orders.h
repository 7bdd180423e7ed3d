// What operators order of messages: retry, hold, release, cancel, flush. Loop thread.
#pragma once

#include "daemon/api/router.h"
#include "daemon/api/services.h"

namespace mailotp::daemon {

// For the operators' socket.
void add_outbox_orders(Router& router, Services& services);

}  // namespace mailotp::daemon
