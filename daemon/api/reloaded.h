// What a reload has done.
#pragma once

#include <cstddef>
#include <functional>

#include "core/result.h"

namespace mailotp::daemon {

struct Reloaded {
  std::size_t keys = 0;          // in the key file
  bool from_credential = false;  // systemd's: a new file is seen by a new start only
  bool restart_needed = false;   // the configuration has changed, and this version reads it at the start
};
// An error: nothing has changed. Errc::busy: another one is under way.
using ReloadDone = std::function<void(core::Result<Reloaded>)>;

}  // namespace mailotp::daemon
