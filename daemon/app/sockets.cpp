#include "daemon/app/sockets.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

namespace mailotp::daemon {

namespace {

constexpr std::string_view k_of_app = "app-";

// In the order of their descriptors.
std::vector<std::string> passed_names() {
  char** names = nullptr;
  const int count = sd_listen_fds_with_names(1, &names);
  std::vector<std::string> passed;
  for (int i = 0; i < count; ++i) {
    passed.emplace_back(names[i] != nullptr ? names[i] : "");
    std::free(names[i]);
  }
  std::free(names);
  return passed;
}

core::Result<> adopt(const core::Config& config, const Servers& servers, int fd, const std::string& name) {
  if (name == "admin") return servers.admin.adopt(fd);
  if (name == "api") return servers.apps.adopt(fd);
  if (name == "metrics") return servers.metrics.adopt(fd);
  if (!name.starts_with(k_of_app)) return {};
  const std::string app = name.substr(k_of_app.size());
  if (std::ranges::find(config.apps, app, &core::AppConfig::name) != config.apps.end())
    return servers.apps.adopt(fd, app);
  // Left alone, whoever connects to it would wait for ever.
  return core::fail(core::Errc::invalid,
                    fmt::format("systemd passes a socket {}, and there is no [[app]] \"{}\"", name, app));
}

}  // namespace

AppSockets app_sockets(const core::Config& config, const std::set<std::string>& passed) {
  AppSockets out;
  for (const core::AppConfig& app : config.apps) {
    if (!app.socket.empty() && !passed.contains(app.name)) out.emplace(app.socket, app.name);
  }
  return out;
}

OpenSocket::OpenSocket(OpenSocket&& other) noexcept
    : app_(std::move(other.app_)),
      socket_{std::exchange(other.socket_.fd, -1), std::move(other.socket_.file)} {}

OpenSocket::~OpenSocket() {
  if (socket_.fd < 0) return;
  remove_socket_file(socket_.file);
  (void)::close(socket_.fd);  // nothing was done with it
}

ListeningSocket OpenSocket::release() {
  return {std::exchange(socket_.fd, -1), std::move(socket_.file)};
}

core::Result<std::vector<OpenSocket>> open_new_sockets(const core::DaemonConfig& daemon,
                                                       const AppSockets& open, const AppSockets& wanted) {
  std::vector<OpenSocket> out;
  for (const auto& [path, app] : wanted) {
    if (open.contains(path)) continue;
    auto made = make_listening_socket(path, daemon.api_mode, daemon.api_group);
    if (!made) return tl::unexpected(made.error());
    out.emplace_back(app, std::move(*made));
  }
  return out;
}

core::Result<std::set<std::string>> open_sockets(const core::Config& config, const Servers& servers) {
  std::set<std::string> passed;
  std::set<std::string> of_apps;
  int fd = SD_LISTEN_FDS_START;
  for (const std::string& name : passed_names()) {
    if (const auto adopted = adopt(config, servers, fd++, name); !adopted)
      return tl::unexpected(adopted.error());
    passed.insert(name);
    if (name.starts_with(k_of_app)) of_apps.insert(name.substr(k_of_app.size()));
  }
  const core::DaemonConfig& own = config.daemon;
  core::Result<> made;
  if (!passed.contains("admin"))
    made = servers.admin.listen(own.admin_socket, own.admin_mode, own.admin_group);
  if (made && !own.metrics_socket.empty() && !passed.contains("metrics"))
    made = servers.metrics.listen(own.metrics_socket, own.admin_mode, own.admin_group);
  for (const auto& [path, app] : app_sockets(config, of_apps)) {
    if (made) made = servers.apps.listen(path, own.api_mode, own.api_group, app);
  }
  if (made && !passed.contains("api"))
    made = servers.apps.listen(own.api_socket, own.api_mode, own.api_group);
  if (!made) return tl::unexpected(made.error());
  return of_apps;
}

}  // namespace mailotp::daemon
