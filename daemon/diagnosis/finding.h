// One thing that was looked at, and what to do about it. No secret is in any of its words.
#pragma once

#include <cstdint>
#include <string>

namespace mailotp::daemon {

// unseen: who asked may not look; that is no fault of the installation.
enum class Outcome : std::uint8_t { ok, warning, failed, unseen };

struct Finding {
  std::string check;    // "key"
  std::string subject;  // "/etc/mailotpd/otp.key"
  Outcome outcome = Outcome::ok;
  std::string saw;
  std::string remedy;  // a command, or what to set where; empty when all is well
};

// {"check","subject","result":"ok|warning|failed|unseen","saw","remedy"}, one line of ASCII without its end.
[[nodiscard]] std::string json_line(const Finding& finding);

}  // namespace mailotp::daemon
