// A configuration that is right, to be changed in one place by a test.
#pragma once

#include <string>
#include <string_view>

namespace mailotp::daemon {

// Lines 1-4 are [mail], 5-7 are [[relay]]; what a test appends begins on line 8.
inline std::string sample_with(std::string_view tail) {
  return R"([mail]
from = "Example <no-reply@example.org>"
bounce_address = "bounces@example.org"
hostname = "otp.example.org"
[[relay]]
name = "primary"
host = "smtp.example.net"
)" + std::string(tail);
}

}  // namespace mailotp::daemon
