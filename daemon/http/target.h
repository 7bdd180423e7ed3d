// The request target (RFC 9112 section 3.2), origin-form only: a server on a Unix socket has no proxies, so
// the absolute, authority and asterisk forms are refused.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"

namespace mailotp::daemon {

struct Target {
  std::string path;                   // percent-decoded
  std::vector<std::string> segments;  // of the path as it was sent, each percent-decoded
  std::string raw_query;
  std::vector<std::pair<std::string, std::string>> query;  // percent-decoded; "+" is no space
};

// Errc::malformed: not "/…", a fragment, bytes outside ASCII, a broken percent escape, or a decoded part that
// has control characters or is not UTF-8.
[[nodiscard]] core::Result<Target> parse_target(std::string_view target);

}  // namespace mailotp::daemon
