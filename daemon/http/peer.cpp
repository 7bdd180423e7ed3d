#include "daemon/http/peer.h"

#include <cerrno>

#include <sys/socket.h>

namespace mailotp::daemon {
namespace {

constexpr std::size_t k_usual_groups = 32;

// ERANGE comes with the size that would do. The groups of a connected peer do not change: the second call
// has it.
std::vector<gid_t> groups_of(int fd) {
  std::vector<gid_t> groups(k_usual_groups);
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto bytes = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    const int outcome = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes);
    if (outcome != 0 && errno != ERANGE) return {};
    groups.resize(bytes / sizeof(gid_t));
    if (outcome == 0) return groups;
  }
  return {};
}

}  // namespace

PeerCredentials credentials_of(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return {};
  return {credentials.uid, credentials.gid, credentials.pid, groups_of(fd)};
}

}  // namespace mailotp::daemon
