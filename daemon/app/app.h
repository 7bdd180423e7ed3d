// The whole daemon: makes the parts, connects them by constructor, runs the loop, stops in order.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/log.h"
#include "core/result.h"
#include "daemon/config/config_file.h"

namespace mailotp::daemon {

// sysexits(3); what systemd's RestartPreventExitStatus= looks at.
enum class ExitCode : int {
  ok = 0,
  usage = 64,
  socket_in_use = 69,
  store_locked = 73,
  store_failed = 74,
  bad_configuration = 78,
};

struct StartFailure {
  ExitCode code = ExitCode::bad_configuration;
  std::string what;
};

class App {
 public:
  App(LoadedConfig loaded, core::Log& log);
  ~App();
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  // Everything up to the open sockets. On a failure nothing is left behind.
  [[nodiscard]] tl::expected<void, StartFailure> start();
  // Until SIGTERM or SIGINT and the end of the drain; a second signal ends it at once.
  ExitCode run();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace mailotp::daemon
