// The backup's thread: takes a snapshot of the database and reads it, so that neither the loop nor a commit
// nor a list waits for it. It is there since the first backup.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include <uv.h>

#include "core/result.h"
#include "daemon/loop/handles.h"
#include "daemon/loop/mailbox.h"
#include "store/snapshot.h"

namespace mailotp::daemon {

// Loop thread; completions come there, in the order of the calls.
class SnapshotThread {
 public:
  SnapshotThread(uv_loop_t* loop, std::string state_dir);
  ~SnapshotThread();
  SnapshotThread(const SnapshotThread&) = delete;
  SnapshotThread& operator=(const SnapshotThread&) = delete;

  // Takes one, in place of the one before; its size. `keep_free` as for store::Snapshot::take(). Any call
  // that follows before `done` ends it with Errc::unavailable.
  void take(std::int64_t keep_free, std::function<void(core::Result<std::uint64_t>)> done);
  // A piece of it: `most` bytes from `from` on, or those that are left.
  void read(std::uint64_t from, std::size_t most, std::function<void(core::Result<std::string>)> done);
  // Lets go of it.
  void drop();
  // As drop(), and ends the thread. No completion comes after this returns.
  void stop();

 private:
  using Held = std::optional<store::Snapshot>;
  struct Task {
    std::function<void(Held&)> work;
    std::function<void()> done;  // may be empty
  };
  template <class R>
  void ask(std::function<core::Result<R>(Held&)> work, std::function<void(core::Result<R>)> done);
  void run();
  void deliver();

  std::string state_dir_;
  Mailbox<Task> tasks_;
  Mailbox<std::function<void()>> done_;
  Wakeup wakeup_;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace mailotp::daemon
