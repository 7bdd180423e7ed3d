// Where to connect to: an address and a port.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace mailotp::mail {

struct Endpoint {
  sockaddr_storage address{};
  socklen_t length = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};
// "192.0.2.1:25", "[2001:db8::1]:25".
[[nodiscard]] std::string to_string(const Endpoint& endpoint);
[[nodiscard]] bool is_loopback(const Endpoint& endpoint);
// Of an IP address in words; nothing of a name.
[[nodiscard]] std::optional<Endpoint> literal_endpoint(const std::string& host, std::uint16_t port);
// Families take turns, in the order of RFC 6724 as the system gives them (RFC 8305 section 4).
[[nodiscard]] std::vector<Endpoint> endpoints_of(const addrinfo* list);

}  // namespace mailotp::mail
