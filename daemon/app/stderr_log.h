// Log lines on standard error: with a "<N>" priority for journald when it listens (sd-daemon(3)), else with
// time and level.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/config.h"
#include "core/log.h"
#include "daemon/app/line_sink.h"

namespace mailotp::daemon {

class StderrLog final : public core::Log {
 public:
  explicit StderrLog(core::LogFormat format);
  // Lines of several threads do not mix, and nobody waits for whoever reads them.
  void write(core::LogLevel level, std::string_view line) override;
  [[nodiscard]] std::uint64_t dropped() const override { return sink_.dropped(); }

 private:
  [[nodiscard]] std::string shown(core::LogLevel level, std::string_view line) const;

  core::LogFormat format_;
  LineSink sink_;
};

}  // namespace mailotp::daemon
