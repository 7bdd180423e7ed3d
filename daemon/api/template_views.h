// What the API shows of templates, as JSON text with the names of the contract. Pure.
#pragma once

#include <string>
#include <vector>

#include "core/composer.h"
#include "daemon/api/captured.h"

namespace mailotp::daemon {

[[nodiscard]] std::string templates_json(const std::vector<core::TemplateOutline>& outlines);
// `mail` as it would have left.
[[nodiscard]] std::string preview_json(const core::TemplateOutline& outline, const CapturedMail& mail);

}  // namespace mailotp::daemon
