// Which app a peer of the common socket is, by its ids. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace mailotp::core {

using AppIndex = std::size_t;  // in Config::apps

struct AppRules {
  // Whose an id is: never two apps'.
  std::map<std::uint32_t, AppIndex> uids;
  std::map<std::uint32_t, AppIndex> gids;
  // As what every id appears that this process's user namespace hides: it names nobody, and fits no rule.
  std::optional<std::uint32_t> hidden_uid;
  std::optional<std::uint32_t> hidden_gid;
  bool operator==(const AppRules&) const = default;
};

struct PeerIds {
  std::uint32_t uid = 0;
  std::vector<std::uint32_t> gids;  // primary and supplementary
};

// In order, each once. A peer of more than one is nobody: rules that contradict must not be settled by
// chance.
[[nodiscard]] std::vector<AppIndex> matching_apps(const AppRules& rules, const PeerIds& peer);

}  // namespace mailotp::core
