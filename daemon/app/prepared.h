// All that a reload takes over, read and made before anything is changed: what fails here has changed
// nothing.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/store.h"
#include "core/tokens.h"
#include "daemon/api/in_force.h"
#include "daemon/api/reloaded.h"
#include "daemon/app/sockets.h"
#include "daemon/config/config_changes.h"
#include "mail/compose/keyed_tokens.h"
#include "store/keys.h"

namespace mailotp::daemon {

// What the loop takes over, once the store has committed its part.
struct TakenOver {
  std::shared_ptr<const Configured> configured;
  ConfigChanges changes;
  std::optional<mail::KeyedTokens> tokens;
  AppSockets sockets_before;
  AppSockets sockets;
  std::vector<OpenSocket> opened;  // those of `sockets` that are new
};

struct Prepared {
  core::TakeOver order;  // to the store
  TakenOver taken;
  std::vector<store::KeyId> keys;
  Reloaded told;
};

// What it is compared with.
struct Running {
  std::shared_ptr<const Configured> configured;
  std::vector<store::KeyId> keys;
  std::set<std::string> passed;  // apps whose sockets are systemd's
};

// Reads the configuration at `path` and what it names. `tokens` outlives what is made. Blocking (files, and
// the accounts of the machine): not on the loop. What is wrong is told with file, line and column.
[[nodiscard]] core::Result<std::shared_ptr<Prepared>> prepare(const std::string& path, const Running& running,
                                                              const core::BounceTokens& tokens);

// Templates, as Configured has them.
[[nodiscard]] NameChanges template_changes(const std::map<std::string, std::string>& before,
                                           const std::map<std::string, std::string>& after);

}  // namespace mailotp::daemon
