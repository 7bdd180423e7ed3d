// What another configuration changes in the one that is in force, and what of it can be had without a
// restart. Pure.
#pragma once

#include <string>
#include <vector>

#include "core/config.h"

namespace mailotp::daemon {

struct NameChanges {
  std::vector<std::string> added;
  std::vector<std::string> changed;
  std::vector<std::string> removed;
  [[nodiscard]] bool any() const { return !added.empty() || !changed.empty() || !removed.empty(); }
};

struct ConfigChanges {
  // The other one, but for what needs a restart: that is as it is in force.
  core::Config taken;
  // Tables in which `taken` differs, as the file calls them: "mail", "relay", "purpose", …
  std::vector<std::string> sections;
  NameChanges relays;
  NameChanges apps;
  // Keys, or whole tables, that stay as they are: "daemon.state_dir", "bounces".
  std::vector<std::string> needs_restart;
  // What these agents are told at their start is another thing now.
  bool smtp_agent = false;
  bool imap_agent = false;
};
[[nodiscard]] ConfigChanges changes_of(const core::Config& in_force, const core::Config& wanted);

// They are the same server, asked in the same way: what was learned of one holds for the other.
[[nodiscard]] bool is_same_server(const core::RelayConfig& a, const core::RelayConfig& b);

}  // namespace mailotp::daemon
