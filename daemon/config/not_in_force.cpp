// The keys that this version reads and does not act on. A key leaves this file in the commit that puts it
// into force.
#include <algorithm>

#include <fmt/format.h>

#include "daemon/config/config_sections.h"

namespace mailotp::daemon {
namespace {

bool is_below(std::string_view path, std::string_view table) {
  return path.size() > table.size() && path.starts_with(table) && path[table.size()] == '.';
}

// Limits that the file sets to what they are without it need no warning.
void add_limits(const core::LimitsConfig& limits, std::vector<std::string>& out) {
  const core::LimitsConfig usual;
  const auto add = [&out](bool differs, std::string_view key) {
    if (differs) out.push_back(fmt::format("limits.{}", key));
  };
  add(limits.recipient_sends != usual.recipient_sends, "recipient_sends");
  add(limits.recipient_failures != usual.recipient_failures, "recipient_failures");
  add(limits.fold_plus != usual.fold_plus, "fold_plus");
  add(limits.fold_dots_domains != usual.fold_dots_domains, "fold_dots_domains");
  add(limits.client_sends != usual.client_sends, "client_sends");
  add(limits.app_sends != usual.app_sends, "app_sends");
  add(limits.global_sends != usual.global_sends, "global_sends");
}

}  // namespace

std::vector<std::string> keys_not_in_force(const core::Config& config, const Findings& findings) {
  std::vector<std::string> out;
  for (const auto& [path, place] : findings.seen()) {
    if (is_below(path, "brake")) out.push_back(path);
  }
  if (std::ranges::any_of(config.apps, [](const core::AppConfig& app) { return app.limits.has_value(); }))
    out.emplace_back("app.limits");
  if (!config.daemon.metrics_socket.empty()) out.emplace_back("daemon.metrics_socket");
  add_limits(config.limits, out);
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace mailotp::daemon
