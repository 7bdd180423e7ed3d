// What mails are made with: the common sender and templates, and each app's own. Blocking file access: not on
// the loop, but for the start.
#pragma once

#include <memory>

#include "core/config.h"
#include "core/result.h"
#include "core/tokens.h"
#include "daemon/api/in_force.h"
#include "daemon/config/config_file.h"
#include "mail/compose/composer.h"

namespace mailotp::daemon {

// `tokens` outlives it. Errc::invalid, Errc::io, Errc::not_found: templates that cannot be used, or none
// where a purpose names one that an app may use.
[[nodiscard]] core::Result<mail::MailComposer> make_composer(const LoadedConfig& loaded,
                                                             const core::BounceTokens& tokens);
// The configuration with its composer.
[[nodiscard]] core::Result<std::shared_ptr<const Configured>> make_configured(
    const LoadedConfig& loaded, const core::BounceTokens& tokens);

// Whether make_composer() would make one.
[[nodiscard]] core::Result<> check_senders(const LoadedConfig& loaded);

}  // namespace mailotp::daemon
