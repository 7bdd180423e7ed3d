// Where things are on this machine: keys and passwords (systemd credentials before files), the agents'
// programs, the templates that come with the program. Blocking file access; for start, reload and the start
// of an agent.
#pragma once

#include <string>
#include <vector>

#include "core/config.h"
#include "core/delivery.h"
#include "core/mailbox.h"
#include "core/result.h"

namespace mailotp::daemon {

// The credential of that name when systemd passed one ($CREDENTIALS_DIRECTORY), else `file`.
[[nodiscard]] std::string credential_or(const std::string& credential, const std::string& file);
// Where systemd has those of the service while it runs.
inline constexpr const char* k_service_credentials = "/run/credentials/mailotpd.service/";
// It is one of this service, or was passed to this process. systemd gives access to it by a list, whose mask
// shows as the right of the group, and owns it itself.
[[nodiscard]] bool is_credential(const std::string& path);
// Whether a relay has a password at all, and where it is; that of the bounce mailbox.
[[nodiscard]] bool authenticates(const core::RelayConfig& relay);
[[nodiscard]] std::string password_file_of(const core::RelayConfig& relay);
[[nodiscard]] std::string password_file_of(const core::BouncesConfig& bounces);
// What it is. Errc::io, Errc::invalid: the file cannot be read, or group or others can.
[[nodiscard]] core::Result<core::Secret> read_password(const std::string& path);
// A relay and the bounce mailbox as their agents need them, but for the password.
[[nodiscard]] core::RelaySettings settings_of(const core::RelayConfig& relay);
[[nodiscard]] core::MailboxHello mailbox_hello(const core::BouncesConfig& bounces,
                                               const core::Config& config);
// The agent's program: beside this one (a build tree), else in libexec/mailotpd of the prefix that this one
// is under.
[[nodiscard]] std::string agent_program(const std::string& name);
// In the order of load: what comes with the program (in the build tree, or the prefix), then the operator's
// own.
[[nodiscard]] std::vector<std::string> template_directories(const core::Config& config);
// The state folder and the capture relay's maildir, made when their parents exist. Errc::io.
[[nodiscard]] core::Result<> make_directories(const core::Config& config);

}  // namespace mailotp::daemon
