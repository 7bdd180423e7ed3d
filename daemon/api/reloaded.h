// What a reload has done, or why it has changed nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include <tl/expected.hpp>

namespace mailotp::daemon {

struct Reloaded {
  std::size_t keys = 0;          // in the key file
  bool from_credential = false;  // systemd's: a new file is seen by a new start only
  bool restart_needed = false;   // the configuration has changed, and this version reads it at the start
};

struct ReloadFailure {
  enum class Why : std::uint8_t {
    busy,      // another one is under way, or too much waits
    files,     // configuration, templates or keys cannot be used
    store,     // it cannot be written at present
    stopping,  // the daemon
  };
  Why why = Why::files;
  std::string what;
};

using ReloadDone = std::function<void(tl::expected<Reloaded, ReloadFailure>)>;

}  // namespace mailotp::daemon
