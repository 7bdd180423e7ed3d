#include "daemon/api/client_network.h"

#include <algorithm>
#include <array>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace mailotp::daemon {

namespace {

constexpr std::size_t k_network_bytes = 8;  // of a /64

template <class Address>
std::string text_of(int family, const Address& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const char* made = ::inet_ntop(family, &address, text.data(), text.size());
  return made == nullptr ? std::string{} : std::string(made);
}

}  // namespace

std::optional<std::string> client_network(const std::string& ip) {
  // inet_pton() would take what stands before a NUL for the whole.
  if (ip.find('\0') != std::string::npos) return std::nullopt;
  in_addr v4{};
  if (::inet_pton(AF_INET, ip.c_str(), &v4) == 1) return text_of(AF_INET, v4);
  in6_addr v6{};
  if (::inet_pton(AF_INET6, ip.c_str(), &v6) != 1) return std::nullopt;
  if (IN6_IS_ADDR_V4MAPPED(&v6)) {
    std::copy_n(&v6.s6_addr[12], sizeof v4, reinterpret_cast<unsigned char*>(&v4));
    return text_of(AF_INET, v4);
  }
  std::fill(std::begin(v6.s6_addr) + k_network_bytes, std::end(v6.s6_addr), std::uint8_t{0});
  return text_of(AF_INET6, v6) + "/64";
}

}  // namespace mailotp::daemon
