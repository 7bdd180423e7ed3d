// Passwords and tokens of relays change while the daemon runs. Once a second each password file is looked at,
// and a new content is handed to the agent, so that every AUTH uses what the file said at most a second
// before. Loop thread; the files are read on the reader's thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <uv.h>

#include "core/config.h"
#include "core/delivery.h"
#include "core/log.h"
#include "daemon/loop/handles.h"
#include "daemon/state/reader_thread.h"

namespace mailotp::daemon {

class PasswordWatch {
 public:
  PasswordWatch(uv_loop_t* loop, const core::Config& config, ReaderThread& reader,
                std::function<void(core::SetPassword)> changed, core::Log& log);
  void start();
  void stop();
  // Hands on what the file of this relay says, changed or not.
  void read_again(std::string_view relay);

 private:
  struct Watched {
    core::RelayConfig relay;
    std::string stamp;  // of the file as it was read last: inode, size, time of change
  };
  void look();
  void look_at(std::size_t index);

  ReaderThread& reader_;
  std::function<void(core::SetPassword)> changed_;
  core::Log& log_;
  std::vector<Watched> watched_;
  Timer timer_;
};

}  // namespace mailotp::daemon
