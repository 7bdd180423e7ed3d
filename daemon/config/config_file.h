// Reads /etc/mailotpd/mailotpd.toml (docs: examples/mailotpd.toml) into core::Config. What comes out
// satisfies every range and every rule between keys, so nobody checks a configuration again. No secret is in
// the file or in an error. Blocking, any thread; used at start, by --check and by a reload.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "core/result.h"

namespace mailotp::daemon {

struct LoadedConfig {
  core::Config config;
  // Dotted names of keys that the file sets and this version reads but does not act on; for a warning at
  // start.
  std::vector<std::string> not_in_force;
};

// `file_name` is only for the errors. Errc::malformed: not TOML; Errc::invalid: everything else that is
// wrong, at most 20 lines `file:line:column: what is wrong, what is allowed` in the order of the file.
// Columns count code points from 1.
[[nodiscard]] core::Result<LoadedConfig> parse_config(std::string_view text, std::string_view file_name);

// Errc::not_found, Errc::io: the file cannot be read (the reason is the system's); else as parse_config.
[[nodiscard]] core::Result<LoadedConfig> load_config(const std::string& path);

}  // namespace mailotp::daemon
