// What is told of bounces in the log: one line an event, and an alarm where a class says that we or our
// content are refused. A recipient is in it as LogRecipients names him, what the far side wrote never. Loop
// thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <uv.h>

#include "core/log.h"
#include "core/store.h"
#include "daemon/app/log_recipients.h"
#include "daemon/loop/handles.h"

namespace mailotp::daemon {

class BounceLog {
 public:
  // An alarm of one class comes at most once a `period`, with the count of what came since the last one.
  BounceLog(uv_loop_t* loop, LogRecipients& recipients, core::Log& log,
            core::Millis period = core::Seconds{60});

  void write(const std::vector<core::BounceNews>& bounces);

 private:
  struct Alarm {
    std::uint64_t count = 0;  // not told yet
    bool told = false;        // in this period
    std::string relay;        // of the newest
    std::string status;
  };
  void alarm(const core::BounceNews& news);
  void tell(std::size_t bounce_class);
  void next_period();

  LogRecipients& recipients_;
  core::Log& log_;
  core::Millis period_;
  std::array<Alarm, core::k_bounce_classes> alarms_;
  Timer timer_;
  bool counting_ = false;  // a period is under way
};

}  // namespace mailotp::daemon
