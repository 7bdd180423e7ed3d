// What the service manager is told (sd_notify(3)): that we are ready, that we stop and how long that may
// take, and, where it watches us (WatchdogSec=), that every part still answers. Without a manager it does
// nothing. Loop thread only; it never waits for the manager, which may hang while mails have to leave.
//
// The watchdog is fed from the loop, and only when every part has said something since it was last fed. So a
// loop, a store or an agent that hangs is a service that hangs: the manager ends it and starts another one. A
// part that is not there to say anything, such as an agent that died and comes back after its pause, is not
// waited for.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <uv.h>

#include "core/log.h"
#include "core/time.h"
#include "daemon/loop/handles.h"

namespace mailotp::daemon {

// A part that must answer.
struct WatchedPart {
  std::string name;  // in log lines
  // How often it has said something, ever; absent: it has not to, at present.
  std::function<std::optional<std::uint64_t>()> signs_of_life;
};

class ServiceNotices {
 public:
  // Where the manager listens, and how often it wants to hear of us; from its environment variables.
  struct Manager {
    std::string socket;                      // a path, or "@name"; empty: there is none
    std::optional<core::Millis> watchdog{};  // it ends us when it hears nothing for this long
  };
  [[nodiscard]] static Manager manager_of_environment();

  // The loop and the log outlive it.
  ServiceNotices(uv_loop_t* loop, Manager manager, core::Log& log);
  ~ServiceNotices();
  ServiceNotices(const ServiceNotices&) = delete;
  ServiceNotices& operator=(const ServiceNotices&) = delete;

  // From here on the watchdog is fed, as long as all of `parts` answer.
  void ready(std::vector<WatchedPart> parts);
  // We are stopping, and that is no hang before `most` has gone by. May be told again, for another part of
  // the way.
  void stopping(core::Millis most);

 private:
  struct Watched {
    WatchedPart part;
    std::optional<std::uint64_t> signs;  // when the watchdog was last fed
  };

  void on_timer();
  void look();
  void owe(const std::string& notice);
  void pay();
  [[nodiscard]] bool send(const std::string& notice) const;
  [[nodiscard]] std::string silent();
  void schedule();

  uv_loop_t* loop_;
  Manager manager_;
  core::Log& log_;
  int socket_ = -1;
  std::string owed_;  // not taken yet, and not to be lost
  std::vector<Watched> watched_;
  bool feeding_ = false;
  std::uint64_t fed_at_ = 0;  // uv_now()
  bool told_ = false;         // the log, of who is silent
  Timer timer_;
};

}  // namespace mailotp::daemon
