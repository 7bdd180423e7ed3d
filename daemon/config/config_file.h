// Reads /etc/mailotpd/mailotpd.toml (docs: examples/mailotpd.toml) into core::Config. What comes out
// satisfies every range and every rule between keys, so nobody checks a configuration again. No secret is in
// the file or in an error. Blocking, any thread; used at start, by --check and by a reload.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "core/app_rules.h"
#include "core/config.h"
#include "core/result.h"
#include "daemon/config/accounts.h"
#include "daemon/config/document.h"

namespace mailotp::daemon {

struct LoadedConfig {
  core::Config config;
  core::AppRules rules;  // of the apps; empty where the accounts of the machine were not asked
  // Where each key stands; as Findings names them.
  std::map<std::string, Place> places;
  // Of load_config alone.
  std::string path;

  // "file:line:column: " of the key, or of the table that it would stand in; for what is found wrong later.
  [[nodiscard]] std::string where(const std::string& key) const;
};

// `file_name` is only for the errors. Errc::malformed: not TOML; Errc::invalid: everything else that is
// wrong, at most 20 lines `file:line:column: what is wrong, what is allowed` in the order of the file.
// Columns count code points from 1.
// Pure: users and groups are only names.
[[nodiscard]] core::Result<LoadedConfig> parse_config(std::string_view text, std::string_view file_name);
// With users and groups looked up among `accounts`: whoever is none, or would be two apps, is refused too.
[[nodiscard]] core::Result<LoadedConfig> parse_config(std::string_view text, std::string_view file_name,
                                                      const Accounts& accounts);

// Errc::not_found, Errc::io: the file cannot be read (the reason is the system's); else as parse_config.
[[nodiscard]] core::Result<LoadedConfig> load_config(const std::string& path, const Accounts& accounts);
// As the pure parse_config.
[[nodiscard]] core::Result<LoadedConfig> load_config(const std::string& path);

}  // namespace mailotp::daemon
