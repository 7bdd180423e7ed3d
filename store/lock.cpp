#include "store/lock.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
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

constexpr std::string_view k_open = "open";  // the second line

std::string content_of(int fd) {
  char text[32] = {};
  const ssize_t got = ::pread(fd, text, sizeof text, 0);
  return {text, static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
}

// The holder writes its pid just after it has the lock, so an empty file is possible for a moment.
std::string holder_of(int fd) {
  const std::string text = content_of(fd);
  const std::string pid = text.substr(0, text.find_first_not_of("0123456789"));
  return pid.empty() ? "another process" : "process " + pid;
}

bool write_pid(int fd, std::string_view second_line) {
  const std::string text = fmt::format("{}\n{}\n", ::getpid(), second_line);
  // In this order, so that a full disk leaves what was there.
  return ::pwrite(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()) &&
         ::ftruncate(fd, static_cast<off_t>(text.size())) == 0;
}

tl::unexpected<core::Error> failed(const std::string& path, int error) {
  return core::fail(error == ENOSPC || error == EDQUOT ? Errc::no_space : Errc::io,
                    fmt::format("{}: {}", path, std::strerror(error)));
}

}  // namespace

Result<StateLock> StateLock::acquire(const std::string& state_dir) {
  const std::string path = state_dir + "/mailotpd.lock";
  struct stat folder {};
  if (::stat(state_dir.c_str(), &folder) != 0 || !S_ISDIR(folder.st_mode))
    return core::fail(Errc::io, fmt::format("{}: the state folder does not exist", state_dir));
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return failed(path, errno);
  StateLock lock(fd, state_dir);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      return core::fail(Errc::busy, fmt::format("{}: {} uses this folder", path, holder_of(fd)));
    return core::fail(Errc::io, fmt::format("{}: flock: {}", path, std::strerror(errno)));
  }
  lock.left_open_ = content_of(fd).find(k_open) != std::string::npos;
  if (!write_pid(fd, lock.left_open_ ? k_open : "")) return failed(path, errno);
  return lock;
}

Result<> StateLock::mark_open() {
  if (!write_pid(fd_, k_open) || ::fdatasync(fd_) != 0) return failed(state_dir_ + "/mailotpd.lock", errno);
  const int folder = ::open(state_dir_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = folder >= 0 && ::fsync(folder) == 0;
  const int error = errno;
  if (folder >= 0) (void)::close(folder);  // it was only read
  if (!synced) return failed(state_dir_, error);
  return {};
}

void StateLock::mark_closed() {
  (void)::ftruncate(fd_, 0);  // if not: the next start looks closer than it need
}

StateLock::StateLock(StateLock&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      state_dir_(std::move(other.state_dir_)),
      left_open_(other.left_open_) {}

StateLock::~StateLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace mailotp::store
