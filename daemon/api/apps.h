// Which app a request of the apps' socket speaks for. Loop thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/log.h"
#include "core/time.h"
#include "daemon/api/in_force.h"
#include "daemon/api/parsed.h"
#include "daemon/http/message.h"

namespace mailotp::daemon {

class Apps {
 public:
  // Since some moment; never goes back.
  using Clock = std::function<core::Millis()>;

  // All references outlive it. Listeners are called by the names of the apps whose they are.
  Apps(const InForce& in_force, core::Log& log);
  Apps(const InForce& in_force, core::Log& log, Clock clock);

  // Never null; in what is in force, whoever keeps it holds that. By a listener of its own, else by the
  // peer's ids; without [[app]] everybody is "default". Problem::app_unknown: no app, or more than one; what
  // it says names no app.
  [[nodiscard]] Parsed<const core::AppConfig*> find(const HttpRequest& request);

 private:
  [[nodiscard]] Parsed<const core::AppConfig*> find_by_ids(const PeerCredentials& peer);
  [[nodiscard]] std::string unknown(const PeerCredentials& peer) const;
  void log_ambiguous(const PeerCredentials& peer, const std::vector<core::AppIndex>& apps);

  const InForce& in_force_;
  core::Log& log_;
  const Clock clock_;
  core::AppConfig default_;
  std::optional<core::Millis> logged_at_;
};

}  // namespace mailotp::daemon
