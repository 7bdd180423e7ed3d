// The calls that both sockets have: liveness, version, the contract, one challenge, one message, what is
// known of an address, captured mails.
#pragma once

#include <string>

#include "daemon/api/parsed.h"
#include "daemon/api/router.h"
#include "daemon/api/services.h"

namespace mailotp::daemon {

enum class Audience { app, operators };

// Whose rows a GET shows: an app sees its own, an operator everything ("") or what ?app= says.
[[nodiscard]] Parsed<std::string> app_of(Services& services, Audience audience, const HttpRequest& request);

void add_shared_api(Router& router, Services& services, Audience audience);

}  // namespace mailotp::daemon
