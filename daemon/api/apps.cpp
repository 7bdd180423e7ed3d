#include "daemon/api/apps.h"

#include <algorithm>
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

Apps::Apps(const InForce& in_force, core::Log& log) : Apps(in_force, log, since_boot) {}

Apps::Apps(const InForce& in_force, core::Log& log, Clock clock)
    : in_force_(in_force), log_(log), clock_(std::move(clock)) {
  default_.name = "default";
}

Parsed<const core::AppConfig*> Apps::find(const HttpRequest& request) {
  const std::vector<core::AppConfig>& apps = in_force_->config.apps;
  if (apps.empty()) return &default_;
  if (request.via.empty()) return find_by_ids(request.peer);
  const auto own = std::ranges::find(apps, request.via, &core::AppConfig::name);
  if (own == apps.end()) return app_unknown("this socket is no app's");
  return &*own;
}

Parsed<const core::AppConfig*> Apps::find_by_ids(const PeerCredentials& peer) {
  core::PeerIds ids{peer.uid, {peer.gid}};
  ids.gids.insert(ids.gids.end(), peer.groups.begin(), peer.groups.end());
  const auto apps = core::matching_apps(in_force_->rules, ids);
  if (apps.empty()) return app_unknown(unknown(peer));
  if (apps.size() == 1) return &in_force_->config.apps[apps.front()];
  log_ambiguous(peer, apps);
  return app_unknown(fmt::format(
      "uid {} matches more than one [[app]] by its user and groups together; a peer must be one app",
      peer.uid));
}

std::string Apps::unknown(const PeerCredentials& peer) const {
  if (peer.uid == in_force_->rules.hidden_uid) {
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
    names += (names.empty() ? "" : ",") + in_force_->config.apps[app].name;
  log_.write(core::LogLevel::warning, fmt::format("event=app_ambiguous uid={} apps={}", peer.uid, names));
}

}  // namespace mailotp::daemon
