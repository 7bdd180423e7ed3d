// Log lines on standard error: with a "<N>" priority for journald when it listens (sd-daemon(3)), else with
// time and level.
#pragma once

#include <string_view>

#include "core/config.h"
#include "core/log.h"

namespace mailotp::daemon {

class StderrLog final : public core::Log {
 public:
  explicit StderrLog(core::LogFormat format);
  // One write(2) a line, so that lines of several threads do not mix.
  void write(core::LogLevel level, std::string_view line) override;

 private:
  core::LogFormat format_;
};

}  // namespace mailotp::daemon
