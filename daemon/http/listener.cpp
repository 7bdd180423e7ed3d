#include "daemon/http/listener.h"

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace mailotp::daemon {
namespace {

using core::Errc;
using core::fail;
using core::Result;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) (void)::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

tl::unexpected<core::Error> failed(const std::string& path, const char* call) {
  return fail(Errc::io, fmt::format("socket {}: {}: {}", path, call, std::strerror(errno)));
}

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path || path.find('\0') != std::string::npos) {
    return fail(Errc::invalid, fmt::format("socket {}: the path must have 1 to {} bytes", path,
                                           sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

const sockaddr* as_sockaddr(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

Result<gid_t> find_group(const std::string& path, const std::string& name) {
  std::vector<char> space(16 * 1024);
  group entry{};
  group* found = nullptr;
  const int error = ::getgrnam_r(name.c_str(), &entry, space.data(), space.size(), &found);
  if (error != 0 || found == nullptr) {
    return fail(Errc::invalid, fmt::format("socket {}: there is no group {}", path, name));
  }
  return entry.gr_gid;
}

// A connect that is refused proves that nobody listens; every other outcome leaves the file alone.
Result<> remove_if_stale(const std::string& path, const sockaddr_un& address) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return failed(path, "lstat");
  }
  if (!S_ISSOCK(status.st_mode)) {
    return fail(Errc::invalid, fmt::format("socket {}: there is a file that is no socket", path));
  }
  const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (probe.get() < 0) return failed(path, "socket");
  if (::connect(probe.get(), as_sockaddr(address), sizeof address) == 0 || errno == EAGAIN) {
    return fail(Errc::busy, fmt::format("socket {}: another process answers there", path));
  }
  if (errno != ECONNREFUSED) return failed(path, "connect");
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failed(path, "unlink");
  return {};
}

// bind(2) gives the file the socket's own mode less the umask: with 0600 set before, nobody else can connect
// until group and mode are right, whatever the umask is.
Result<SocketFile> bind_with_mode(int fd, const std::string& path, const sockaddr_un& address,
                                  std::uint32_t mode, const std::string& group_name) {
  if (::fchmod(fd, 0600) != 0) return failed(path, "fchmod");
  if (::bind(fd, as_sockaddr(address), sizeof address) != 0) return failed(path, "bind");
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return failed(path, "lstat");
  SocketFile file{path, status.st_dev, status.st_ino};
  if (!group_name.empty()) {
    const auto gid = find_group(path, group_name);
    if (!gid || ::lchown(path.c_str(), static_cast<uid_t>(-1), *gid) != 0) {
      auto error = gid ? failed(path, "chown") : tl::unexpected(gid.error());
      remove_socket_file(file);
      return error;
    }
  }
  if (::chmod(path.c_str(), mode) != 0 || ::listen(fd, k_listen_backlog) != 0) {
    auto error = failed(path, "chmod or listen");
    remove_socket_file(file);
    return error;
  }
  return file;
}

}  // namespace

Result<ListeningSocket> make_listening_socket(const std::string& path, std::uint32_t mode,
                                              const std::string& group) {
  const auto address = address_of(path);
  if (!address) return tl::unexpected(address.error());
  if (auto clear = remove_if_stale(path, *address); !clear) return tl::unexpected(clear.error());
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket.get() < 0) return failed(path, "socket");
  auto file = bind_with_mode(socket.get(), path, *address, mode, group);
  if (!file) return tl::unexpected(std::move(file.error()));
  return ListeningSocket{socket.release(), std::move(*file)};
}

Result<> check_listening_socket(int fd) {
  const auto option = [fd](int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
  };
  if (option(SO_DOMAIN) != AF_UNIX || option(SO_TYPE) != SOCK_STREAM || option(SO_ACCEPTCONN) != 1) {
    return fail(Errc::invalid, fmt::format("descriptor {} is no listening Unix stream socket", fd));
  }
  const int flags = ::fcntl(fd, F_GETFD);
  if (flags < 0 || ::fcntl(fd, F_SETFD, flags | FD_CLOEXEC) != 0) {
    return fail(Errc::io, fmt::format("descriptor {}: fcntl: {}", fd, std::strerror(errno)));
  }
  return {};
}

void remove_socket_file(const SocketFile& file) {
  if (file.path.empty()) return;
  struct stat status {};
  if (::lstat(file.path.c_str(), &status) != 0) return;
  if (status.st_dev != file.device || status.st_ino != file.inode) return;
  (void)::unlink(file.path.c_str());  // best effort: a file that stays is found stale at the next start
}

}  // namespace mailotp::daemon
