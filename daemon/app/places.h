// Where things are on this machine: keys and passwords (systemd credentials before files), the agents'
// programs, the templates that come with the program. Blocking file access; for start, reload and the start
// of an agent.
#pragma once

#include <string>
#include <vector>

#include "core/config.h"
#include "core/delivery.h"
#include "core/result.h"

namespace mailotp::daemon {

// The credential of that name when systemd passed one ($CREDENTIALS_DIRECTORY), else `file`.
[[nodiscard]] std::string credential_or(const std::string& credential, const std::string& file);
// Whether a relay has a password at all, where it is, and what it is. Errc::io, Errc::invalid: the file
// cannot be read, or group or others can.
[[nodiscard]] bool authenticates(const core::RelayConfig& relay);
[[nodiscard]] std::string password_file_of(const core::RelayConfig& relay);
[[nodiscard]] core::Result<core::Secret> read_relay_password(const core::RelayConfig& relay);
// A relay as its agent needs it, but for its password.
[[nodiscard]] core::RelaySettings settings_of(const core::RelayConfig& relay);
// The agent's program: beside this one (a build tree), else where packages install it.
[[nodiscard]] std::string agent_program(const std::string& name);
// In the order of load: what comes with the program, then the operator's own.
[[nodiscard]] std::vector<std::string> template_directories(const core::Config& config);
// The state folder and the capture relay's maildir, made when their parents exist. Errc::io.
[[nodiscard]] core::Result<> make_directories(const core::Config& config);

}  // namespace mailotp::daemon
