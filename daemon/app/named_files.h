// The files that the configuration names: keys, passwords, templates. Each that cannot be used is told with
// the place of the configuration that names it. Blocking file access: not on the loop, but for the start.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "core/secret.h"
#include "daemon/config/config_file.h"
#include "store/keys.h"

namespace mailotp::daemon {

// The key file, or systemd's copy of it.
struct NamedKeys {
  std::vector<core::Secret> keys;
  store::KeyRing ring;
  std::string path;
  bool is_credential = false;
};
[[nodiscard]] core::Result<NamedKeys> load_named_keys(const LoadedConfig& loaded);

// Of every relay that authenticates, and of the bounce mailbox.
[[nodiscard]] core::Result<> check_passwords(const LoadedConfig& loaded);

// All of it, as --check does: what is good here is taken by a start and by a reload. Key and password files
// that are not there are given back, each with its place: systemd may hand them to the service as
// credentials, which is not to be seen from here.
[[nodiscard]] core::Result<std::vector<std::string>> check_named_files(const LoadedConfig& loaded);

}  // namespace mailotp::daemon
