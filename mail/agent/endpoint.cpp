#include "mail/agent/endpoint.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <arpa/inet.h>

namespace mailotp::mail {

std::optional<Endpoint> literal_endpoint(const std::string& host, std::uint16_t port) {
  Endpoint endpoint;
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    std::memcpy(&endpoint.address, &v4, sizeof v4);
    endpoint.length = sizeof v4;
    return endpoint;
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    std::memcpy(&endpoint.address, &v6, sizeof v6);
    endpoint.length = sizeof v6;
    return endpoint;
  }
  return std::nullopt;
}

std::vector<Endpoint> endpoints_of(const addrinfo* list) {
  std::vector<Endpoint> first;  // of the family that the system prefers
  std::vector<Endpoint> second;
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
    if (at->ai_addrlen > sizeof(sockaddr_storage)) continue;
    Endpoint endpoint;
    std::memcpy(&endpoint.address, at->ai_addr, at->ai_addrlen);
    endpoint.length = at->ai_addrlen;
    (at->ai_family == list->ai_family ? first : second).push_back(endpoint);
  }
  std::vector<Endpoint> out;
  for (std::size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
    if (i < first.size()) out.push_back(first[i]);
    if (i < second.size()) out.push_back(second[i]);
  }
  return out;
}

std::string to_string(const Endpoint& endpoint) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (endpoint.address.ss_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &endpoint.address, sizeof v6);
    (void)inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());  // the buffer is large enough
    return "[" + std::string(text.data()) + "]:" + std::to_string(ntohs(v6.sin6_port));
  }
  sockaddr_in v4;
  std::memcpy(&v4, &endpoint.address, sizeof v4);
  (void)inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());  // the buffer is large enough
  return std::string(text.data()) + ":" + std::to_string(ntohs(v4.sin_port));
}

bool is_loopback(const Endpoint& endpoint) {
  if (endpoint.address.ss_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &endpoint.address, sizeof v6);
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
  }
  sockaddr_in v4;
  std::memcpy(&v4, &endpoint.address, sizeof v4);
  return (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
}

}  // namespace mailotp::mail
