// The port for log lines: "event key=value …". One line a call, no newline, no secret. Any thread may call
// it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mailotp::core {

enum class LogLevel { debug, info, notice, warning, error };

class Log {
 public:
  virtual ~Log() = default;
  virtual void write(LogLevel level, std::string_view line) = 0;
  // Lines that found no room and are lost, ever.
  [[nodiscard]] virtual std::uint64_t dropped() const { return 0; }
};

}  // namespace mailotp::core
