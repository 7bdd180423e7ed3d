// What a reload has done, or why it has changed nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "daemon/config/config_changes.h"

namespace mailotp::daemon {

struct Reloaded {
  std::size_t keys = 0;              // in the key file
  bool from_credential = false;      // systemd's: a new file is seen by a new start only
  std::vector<std::string> changed;  // tables of the configuration, "keys", "templates"
  NameChanges relays;
  NameChanges apps;
  NameChanges templates;                   // of an app's own: "shop/otp"
  std::vector<std::string> needs_restart;  // keys and tables whose change is left out until then
};

struct ReloadFailure {
  enum class Why : std::uint8_t {
    busy,      // another one is under way, or too much waits
    files,     // configuration, templates, passwords or keys cannot be used
    store,     // it cannot be written at present
    stopping,  // the daemon
  };
  Why why = Why::files;
  std::string what;
};

using ReloadDone = std::function<void(tl::expected<Reloaded, ReloadFailure>)>;

}  // namespace mailotp::daemon
