// What the daemon listens on. systemd passes sockets by name (LISTEN_FDNAMES): "api", "admin" and, for an app
// with one of its own, "app-NAME"; those that it does not pass are made here. "metrics" likewise, when the
// configuration or systemd has one.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/config.h"
#include "core/result.h"
#include "daemon/http/listener.h"
#include "daemon/http/server.h"

namespace mailotp::daemon {

struct Servers {
  HttpServer& apps;
  HttpServer& admin;
  HttpServer& metrics;
};

// Of an app, with a socket of its own that we make.
using AppSockets = std::map<std::string, std::string>;  // path: the app's name
// `passed`: apps whose sockets are systemd's.
[[nodiscard]] AppSockets app_sockets(const core::Config& config, const std::set<std::string>& passed);

// A socket that listens and has no server yet. Closed, and its file removed, unless it is given to one.
class OpenSocket {
 public:
  OpenSocket(std::string app, ListeningSocket socket) : app_(std::move(app)), socket_(std::move(socket)) {}
  OpenSocket(OpenSocket&& other) noexcept;
  OpenSocket& operator=(OpenSocket&&) = delete;
  ~OpenSocket();
  [[nodiscard]] const std::string& app() const { return app_; }
  [[nodiscard]] const std::string& path() const { return socket_.file.path; }
  [[nodiscard]] ListeningSocket release();

 private:
  std::string app_;
  ListeningSocket socket_;
};

// Those of `wanted` that are not among `open`. Blocking: not on the loop.
[[nodiscard]] core::Result<std::vector<OpenSocket>> open_new_sockets(const core::DaemonConfig& daemon,
                                                                     const AppSockets& open,
                                                                     const AppSockets& wanted);

// Opens all at the start; the apps whose sockets systemd has passed. The listener of an app is called by its
// name (HttpRequest::via), the common one "". Errors: as those of HttpServer, and Errc::invalid for a passed
// socket of an app that there is not. What was opened stays with the servers.
[[nodiscard]] core::Result<std::set<std::string>> open_sockets(const core::Config& config,
                                                               const Servers& servers);

}  // namespace mailotp::daemon
