#include "daemon/api/apps.h"

#include <chrono>
#include <utility>

#include <fmt/format.h>

namespace mailotp::daemon {

namespace {

constexpr core::Millis k_log_pause{1000};

core::Millis since_boot() {
  return std::chrono::duration_cast<core::Millis>(std::chrono::steady_clock::now().time_since_epoch());
}

tl::unexpected<ProblemDetail> app_unknown(std::string detail) {
  ProblemDetail refused;
  refused.problem = Problem::app_unknown;
  refused.detail = std::move(detail);
  return tl::unexpected(std::move(refused));
}

}  // namespace

Apps::Apps(const core::Config& config, core::AppRules rules, core::Log& log)
    : Apps(config, std::move(rules), log, since_boot) {}

Apps::Apps(const core::Config& config, core::AppRules rules, core::Log& log, Clock clock)
    : config_(config), rules_(std::move(rules)), log_(log), clock_(std::move(clock)) {
  default_.name = "default";
  for (const core::AppConfig& app : config_.apps)
    by_listener_.emplace(app.name, &app);
}

Parsed<const core::AppConfig*> Apps::find(const HttpRequest& request) {
  if (config_.apps.empty()) return &default_;
  if (request.via.empty()) return find_by_ids(request.peer);
  const auto own = by_listener_.find(request.via);
  if (own == by_listener_.end()) return app_unknown("this socket is no app's");
  return own->second;
}

Parsed<const core::AppConfig*> Apps::find_by_ids(const PeerCredentials& peer) {
  core::PeerIds ids{peer.uid, {peer.gid}};
  ids.gids.insert(ids.gids.end(), peer.groups.begin(), peer.groups.end());
  const auto apps = core::matching_apps(rules_, ids);
  if (apps.empty()) return app_unknown(unknown(peer));
  if (apps.size() == 1) return &config_.apps[apps.front()];
  log_ambiguous(peer, apps);
  return app_unknown(fmt::format(
      "uid {} matches more than one [[app]] by its user and groups together; a peer must be one app",
      peer.uid));
}

std::string Apps::unknown(const PeerCredentials& peer) const {
  if (peer.uid == rules_.hidden_uid) {
    return fmt::format(
        "the peer's uid is hidden from mailotpd by a user namespace, and looks like {}: give the app a "
        "socket "
        "of its own",
        peer.uid);
  }
  return fmt::format(
      "uid {} with gid {} is no app: name its user in users or uids of an [[app]], or one of its groups in "
      "groups, or use the app's own socket",
      peer.uid, peer.gid);
}

void Apps::log_ambiguous(const PeerCredentials& peer, const std::vector<core::AppIndex>& apps) {
  const core::Millis now = clock_();
  if (logged_at_ && now - *logged_at_ < k_log_pause) return;
  logged_at_ = now;
  std::string names;
  for (const core::AppIndex app : apps)
    names += (names.empty() ? "" : ",") + config_.apps[app].name;
  log_.write(core::LogLevel::warning, fmt::format("event=app_ambiguous uid={} apps={}", peer.uid, names));
}

}  // namespace mailotp::daemon
