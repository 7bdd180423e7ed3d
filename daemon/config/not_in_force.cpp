// The keys that this version reads and does not act on. A key leaves this file in the commit that puts it
// into force.
#include "daemon/config/config_sections.h"

namespace mailotp::daemon {

std::vector<std::string> keys_not_in_force(const core::Config& config) {
  std::vector<std::string> out;
  if (!config.daemon.metrics_socket.empty()) out.emplace_back("daemon.metrics_socket");
  return out;
}

}  // namespace mailotp::daemon
