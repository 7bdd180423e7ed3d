// The port for log lines: "event key=value …". One line a call, no newline, no secret. Any thread may call
// it.
#pragma once

#include <string>
#include <string_view>

namespace mailotp::core {

enum class LogLevel { debug, info, notice, warning, error };

class Log {
 public:
  virtual ~Log() = default;
  virtual void write(LogLevel level, std::string_view line) = 0;
};

}  // namespace mailotp::core
