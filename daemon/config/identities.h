// From the names that [[app]] gives to the ids that peers have, and whether these tell the apps apart.
#pragma once

#include "core/app_rules.h"
#include "core/config.h"
#include "daemon/config/accounts.h"
#include "daemon/config/findings.h"

namespace mailotp::daemon {

// Refuses what `accounts` do not know, one id for two apps, an account that would be two apps, and ids that
// this user namespace hides. Call it only when `findings` is clean; may block, as Accounts does.
[[nodiscard]] core::AppRules resolve_apps(const core::Config& config, const Accounts& accounts,
                                          Findings& findings);

}  // namespace mailotp::daemon
