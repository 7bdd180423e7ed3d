#include "mail/agent/agent_lock.h"

#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace mailotp::mail {
namespace {

core::Error failed(const char* what) {
  return {core::Errc::io, std::string(what) + ": " + std::strerror(errno)};
}

// Field 22 of proc(5) stat. The name, field 2, may hold anything but ends with the last parenthesis.
core::Result<std::string> own_start_time() {
  char text[1024];
  const int file = ::open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (file < 0) return tl::unexpected(failed("/proc/self/stat"));
  const ssize_t size = ::read(file, text, sizeof text);
  (void)::close(file);  // opened for reading
  const std::string stat(text, size > 0 ? static_cast<std::size_t>(size) : 0);
  std::size_t at = stat.rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field)
    at = stat.find(' ', at + 1);
  if (at == std::string::npos) return core::fail(core::Errc::io, "/proc/self/stat has another form");
  return stat.substr(at + 1, stat.find(' ', at + 1) - at - 1);
}

}  // namespace

core::Result<> take_agent_lock(int descriptor) {
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return core::fail(core::Errc::busy, "another agent holds the lock");
    return tl::unexpected(failed("flock"));
  }
  auto started = own_start_time();
  if (!started) return tl::unexpected(started.error());
  const std::string line = std::to_string(::getpid()) + " " + *started + "\n";
  if (::ftruncate(descriptor, 0) != 0) return tl::unexpected(failed("ftruncate of the lock"));
  if (::pwrite(descriptor, line.data(), line.size(), 0) != static_cast<ssize_t>(line.size()))
    return tl::unexpected(failed("write of the lock"));
  return {};
}

}  // namespace mailotp::mail
