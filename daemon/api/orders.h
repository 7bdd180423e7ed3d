// What the orders of operators have in common. Loop thread.
#pragma once

#include <functional>
#include <string>

#include "core/store.h"
#include "daemon/api/services.h"
#include "daemon/http/message.h"
#include "daemon/http/server.h"

namespace mailotp::daemon {

[[nodiscard]] core::Actor actor_of(const HttpRequest& request);

// Has the store do it and answers with what `show` makes of a successful outcome.
void order(Services& services, core::Command command, const std::string& request_id, Responder responder,
           std::function<std::string(const core::Answer&)> show);

}  // namespace mailotp::daemon
