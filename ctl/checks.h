// What `doctor` finds: one check, what was seen, what to do. Some are found by mailotpd --diagnose, others by
// asking the daemon that runs.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "ctl/daemon_client.h"
#include "ctl/table.h"

namespace mailotp::ctl {

// unseen: who asks may not look; that is no fault of the installation.
enum class CheckResult : std::uint8_t { ok, warning, failed, unseen };

struct CheckInfo {
  std::string check;
  std::string subject;
  CheckResult result = CheckResult::ok;
  std::string saw;
  std::string remedy;  // empty: nothing is to be done
};

// A line of mailotpd --diagnose. Errc::malformed: it is none.
[[nodiscard]] core::Result<CheckInfo> read_check(std::string_view line);
// The same line, in ASCII.
[[nodiscard]] std::string check_line(const CheckInfo& check);
// For people: one line, and the remedy on another one. Printable.
[[nodiscard]] std::string show_check(const CheckInfo& check, const Screen& screen);

using CheckSink = std::function<void(const CheckInfo&)>;
// Told before something that may take long: "testing relay primary".
using Progress = std::function<void(const std::string&)>;

// What the daemon at `socket` says of itself. An answer that does not come is a check that failed.
void check_live(const std::string& socket, core::WallTime now, const CheckSink& found,
                const Progress& progress);

}  // namespace mailotp::ctl
