#include "store/lock.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mailotp::store {

using core::Errc;
using core::Result;

namespace {

// The holder writes its pid just after it has the lock, so an empty file is possible for a moment.
std::string holder_of(int fd) {
  char text[24] = {};
  const ssize_t got = ::pread(fd, text, sizeof text - 1, 0);
  std::string pid;
  for (ssize_t i = 0; i < got && text[i] >= '0' && text[i] <= '9'; ++i)
    pid += text[i];
  return pid.empty() ? "another process" : "process " + pid;
}

bool write_pid(int fd) {
  const std::string text = fmt::format("{}\n", ::getpid());
  return ::ftruncate(fd, 0) == 0 &&
         ::pwrite(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
}

}  // namespace

Result<StateLock> StateLock::acquire(const std::string& state_dir) {
  const std::string path = state_dir + "/mailotpd.lock";
  struct stat folder {};
  if (::stat(state_dir.c_str(), &folder) != 0 || !S_ISDIR(folder.st_mode))
    return core::fail(Errc::io, fmt::format("{}: the state folder does not exist", state_dir));
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return core::fail(Errc::io, fmt::format("{}: {}", path, std::strerror(errno)));
  StateLock lock(fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      return core::fail(Errc::busy, fmt::format("{}: {} uses this folder", path, holder_of(fd)));
    return core::fail(Errc::io, fmt::format("{}: flock: {}", path, std::strerror(errno)));
  }
  if (!write_pid(fd)) return core::fail(Errc::io, fmt::format("{}: {}", path, std::strerror(errno)));
  return lock;
}

StateLock::StateLock(StateLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

StateLock::~StateLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace mailotp::store
