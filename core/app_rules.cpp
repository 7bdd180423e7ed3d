#include "core/app_rules.h"

#include <set>

namespace mailotp::core {

std::vector<AppIndex> matching_apps(const AppRules& rules, const PeerIds& peer) {
  std::set<AppIndex> found;
  const auto uid = rules.uids.find(peer.uid);
  if (uid != rules.uids.end() && peer.uid != rules.hidden_uid) found.insert(uid->second);
  for (const std::uint32_t id : peer.gids) {
    const auto gid = rules.gids.find(id);
    if (gid != rules.gids.end() && id != rules.hidden_gid) found.insert(gid->second);
  }
  return {found.begin(), found.end()};
}

}  // namespace mailotp::core
