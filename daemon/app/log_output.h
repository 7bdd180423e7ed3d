// Where log lines go, and in which form. Under journald (JOURNAL_STREAM names what standard error is) they go
// to its socket, as fields; elsewhere to standard error, as text, as JSON or with a priority in front.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/config.h"
#include "core/log.h"
#include "daemon/app/line_sink.h"

namespace mailotp::daemon {

// True: `descriptor` is the stream of which JOURNAL_STREAM tells ("device:inode", in decimal). The variable
// is inherited by whoever has his output elsewhere, so it alone says nothing.
[[nodiscard]] bool is_journal(int descriptor, const char* journal_stream);

class LogOutput final : public core::Log {
 public:
  // What is less urgent than `least` is not written. `journal_socket`: other than journald's for tests.
  LogOutput(core::LogFormat format, core::LogLevel least,
            const std::string& journal_socket = "/run/systemd/journal/socket");
  // Lines of several threads do not mix, and nobody waits for whoever reads them.
  void write(core::LogLevel level, std::string_view line) override;
  [[nodiscard]] std::uint64_t dropped() const override { return sink_->dropped(); }

 private:
  enum class Form : std::uint8_t { text, json, prefixed, journal };
  [[nodiscard]] std::string shown(core::LogLevel level, std::string_view line) const;

  core::LogLevel least_;
  Form form_ = Form::text;
  std::unique_ptr<LineTarget> target_;
  std::unique_ptr<LineSink> sink_;  // gone before its target
};

}  // namespace mailotp::daemon
