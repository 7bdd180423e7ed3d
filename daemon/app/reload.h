// Takes over configuration, templates and key file while the daemon runs: all of it, or nothing.
//
//   a thread of its own reads and makes everything (prepared.h) ─► the store takes keys and rules over in one
//   commit, or refuses ─► the loop takes over the rest, in one turn, where nothing can fail any more
//
// The thread lasts as long as the reading: to look up users and groups may take minutes where a directory
// does not answer, and nobody else is to wait for that. All calls on the loop thread.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <uv.h>

#include "core/log.h"
#include "core/tokens.h"
#include "daemon/api/in_force.h"
#include "daemon/api/reloaded.h"
#include "daemon/app/prepared.h"
#include "daemon/loop/handles.h"
#include "daemon/loop/mailbox.h"
#include "daemon/state/store_thread.h"

namespace mailotp::daemon {

class Reload {
 public:
  // `keys`: of the ring that is in force. `take_over` is the loop's part. All references outlive it.
  Reload(uv_loop_t* loop, std::string config_path, const InForce& in_force, std::vector<store::KeyId> keys,
         StoreThread& store, const core::BounceTokens& tokens, core::Log& log,
         std::function<void(TakenOver&)> take_over);
  // Not while is_reading().
  ~Reload();
  Reload(const Reload&) = delete;
  Reload& operator=(const Reload&) = delete;
  // Apps whose sockets are systemd's.
  void passed(std::set<std::string> apps) { passed_ = std::move(apps); }

  // One at a time. Logs what came of it, too.
  void run(ReloadDone done);
  // The daemon stops: whoever waits is told so, and so is whoever comes.
  void stop();
  // Its thread works. One that a directory service holds cannot be ended but with the process.
  [[nodiscard]] bool is_reading() const { return thread_.joinable(); }

 private:
  using Made = core::Result<std::shared_ptr<Prepared>>;
  void read();
  void deliver();
  void take(const Made& prepared);
  void finish(tl::expected<Reloaded, ReloadFailure> result);

  std::string config_path_;
  const InForce& in_force_;
  std::vector<store::KeyId> keys_;
  std::set<std::string> passed_;
  StoreThread& store_;
  const core::BounceTokens& tokens_;
  core::Log& log_;
  std::function<void(TakenOver&)> take_over_;
  ReloadDone done_;  // of the one that is under way
  bool stopped_ = false;
  Mailbox<Made> made_;
  Wakeup wakeup_;
  std::thread thread_;
};

}  // namespace mailotp::daemon
