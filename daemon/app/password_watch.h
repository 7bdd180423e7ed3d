// Passwords and tokens change while the daemon runs. Once a second each password file is looked at, and a new
// content is handed to the agent, so that every login uses what the file said at most a second before. Loop
// thread; the files are read on the reader's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <uv.h>

#include "core/log.h"
#include "core/secret.h"
#include "daemon/loop/handles.h"
#include "daemon/state/reader_thread.h"

namespace mailotp::daemon {

class PasswordWatch {
 public:
  PasswordWatch(uv_loop_t* loop, ReaderThread& reader, core::Log& log);

  // `name` is for log lines and read_again(): "relay=primary". `file` finds the path, on any thread: a
  // credential may come to stand before it. `changed` is called with each new content.
  struct File {
    std::string name;
    std::function<std::string()> file;
    std::function<void(core::Secret)> changed;
  };
  // All of them. One that was watched under its name before is handed on when it has changed since; the
  // content of any other one at the next look.
  void watch(std::vector<File> files);
  // Before start(): what the files say now is known.
  void know();
  void start();
  void stop();
  // Hands on what the file says, changed or not.
  void read_again(std::string_view name);
  // The next look, now.
  void look_now(std::string_view name);

 private:
  struct Watched {
    File of;
    std::string stamp;  // of the file as it was read last: inode, size, time of change; empty: it was not
  };
  void look();
  void look_at(std::size_t index);

  ReaderThread& reader_;
  core::Log& log_;
  std::vector<Watched> watched_;
  std::uint64_t generation_ = 0;  // calls of watch(): a look of before counts no more
  Timer timer_;
};

}  // namespace mailotp::daemon
