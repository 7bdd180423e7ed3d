// The operators' templates: what there is, how a mail of it looks, and one that is really sent. Loop thread.
#pragma once

#include "daemon/api/router.h"
#include "daemon/api/services.h"

namespace mailotp::daemon {

void add_templates_api(Router& router, Services& services);

}  // namespace mailotp::daemon
