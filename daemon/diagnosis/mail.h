// What mails are made with, and where their bounces go. Blocking file access.
#pragma once

#include <vector>

#include "daemon/config/config_file.h"
#include "daemon/diagnosis/finding.h"
#include "daemon/diagnosis/site.h"

namespace mailotp::daemon {

[[nodiscard]] Finding check_mail_templates(const LoadedConfig& loaded);
[[nodiscard]] Finding check_bounce_path(const Site& site);

}  // namespace mailotp::daemon
