#include "daemon/app/log_output.h"

#include <cstdlib>
#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/app/log_line.h"
#include "daemon/state/clock.h"

namespace mailotp::daemon {

bool is_journal(int descriptor, const char* journal_stream) {
  struct stat status {};
  if (journal_stream == nullptr || ::fstat(descriptor, &status) != 0) return false;
  return journal_stream == fmt::format("{}:{}", status.st_dev, status.st_ino);
}

LogOutput::LogOutput(core::LogFormat format, core::LogLevel least, const std::string& journal_socket)
    : least_(least) {
  const bool journal = is_journal(STDERR_FILENO, std::getenv("JOURNAL_STREAM"));
  if (format == core::LogFormat::automatic)
    format = journal ? core::LogFormat::journal : core::LogFormat::text;
  if (format == core::LogFormat::json) form_ = Form::json;
  if (format == core::LogFormat::journal) {
    // Without its socket journald, or whoever else is there, still reads standard error.
    auto socket = journal ? JournalTarget::open(journal_socket) : nullptr;
    form_ = socket ? Form::journal : Form::prefixed;
    target_ = std::move(socket);
  }
  if (!target_) target_ = std::make_unique<StreamTarget>(STDERR_FILENO);
  sink_ = std::make_unique<LineSink>(*target_, [this](std::uint64_t lines) {
    return shown(core::LogLevel::warning, fmt::format("event=log_dropped lines={}", lines));
  });
}

void LogOutput::write(core::LogLevel level, std::string_view line) {
  if (level >= least_) sink_->write(shown(level, line));
}

std::string LogOutput::shown(core::LogLevel level, std::string_view line) const {
  switch (form_) {
    case Form::journal:
      return as_journal_entry(level, line);
    case Form::prefixed:
      return as_prefixed(level, line);
    case Form::json:
      return as_json(wall_now(), level, line);
    case Form::text:
      break;
  }
  return as_text(wall_now(), level, line);
}

}  // namespace mailotp::daemon
