#include "daemon/app/sockets.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

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

core::Result<> open_sockets(const core::Config& config, const Servers& servers) {
  std::set<std::string> passed;
  int fd = SD_LISTEN_FDS_START;
  for (const std::string& name : passed_names()) {
    if (const auto adopted = adopt(config, servers, fd++, name); !adopted) return adopted;
    passed.insert(name);
  }
  const core::DaemonConfig& own = config.daemon;
  if (!passed.contains("admin")) {
    if (auto made = servers.admin.listen(own.admin_socket, own.admin_mode, own.admin_group); !made)
      return made;
  }
  if (!own.metrics_socket.empty() && !passed.contains("metrics")) {
    if (auto made = servers.metrics.listen(own.metrics_socket, own.admin_mode, own.admin_group); !made)
      return made;
  }
  for (const core::AppConfig& app : config.apps) {
    if (app.socket.empty() || passed.contains(std::string(k_of_app) + app.name)) continue;
    if (auto made = servers.apps.listen(app.socket, own.api_mode, own.api_group, app.name); !made)
      return made;
  }
  if (passed.contains("api")) return {};
  return servers.apps.listen(own.api_socket, own.api_mode, own.api_group);
}

}  // namespace mailotp::daemon
