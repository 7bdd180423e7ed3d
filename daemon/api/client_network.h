// Which part of the network a client's address stands for.
#pragma once

#include <optional>
#include <string>

namespace mailotp::daemon {

// An IPv4 address as it is, also when it comes mapped into IPv6 (RFC 4291 section 2.5.5.2); of an IPv6
// address its /64 as "2001:db8:1:2::/64", since one customer has at least that many addresses. One spelling
// for each. Absent: it is neither.
[[nodiscard]] std::optional<std::string> client_network(const std::string& ip);

}  // namespace mailotp::daemon
