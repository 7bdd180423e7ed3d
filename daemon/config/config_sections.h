// The tables of the configuration, each read into its struct; and the rules between keys.
#pragma once

#include "core/config.h"
#include "daemon/config/findings.h"

namespace mailotp::daemon {

// Every table. Refused keys keep their defaults in the result.
[[nodiscard]] core::Config read_sections(const Node& root, Findings& findings);

// The rules between keys; call it only when `findings` is clean.
void check_rules(const core::Config& config, Findings& findings);

}  // namespace mailotp::daemon
