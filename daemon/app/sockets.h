// What the daemon listens on. systemd passes sockets by name (LISTEN_FDNAMES): "api", "admin" and, for an app
// with one of its own, "app-NAME"; those that it does not pass are made here. "metrics" likewise, when the
// configuration or systemd has one.
#pragma once

#include "core/config.h"
#include "core/result.h"
#include "daemon/http/server.h"

namespace mailotp::daemon {

struct Servers {
  HttpServer& apps;
  HttpServer& admin;
  HttpServer& metrics;
};

// The listener of an app is called by its name (HttpRequest::via), the common one "". Errors: as those of
// HttpServer, and Errc::invalid for a passed socket of an app that there is not. What was opened stays with
// the servers.
[[nodiscard]] core::Result<> open_sockets(const core::Config& config, const Servers& servers);

}  // namespace mailotp::daemon
