#include "daemon/agents/agent_lock.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace mailotp::daemon {
namespace {

constexpr std::size_t k_command_name = 15;  // bytes that the kernel keeps of it

core::Error failed(const std::string& what) {
  const int code = errno;
  return {core::Errc::io, what + ": " + std::strerror(code)};
}

class Pidfd {
 public:
  explicit Pidfd(pid_t pid) : descriptor_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {}
  ~Pidfd() {
    if (descriptor_ >= 0) (void)::close(descriptor_);
  }
  Pidfd(const Pidfd&) = delete;
  Pidfd& operator=(const Pidfd&) = delete;
  [[nodiscard]] bool ok() const { return descriptor_ >= 0; }
  [[nodiscard]] bool kill() const {
    return ::syscall(SYS_pidfd_send_signal, descriptor_, SIGKILL, nullptr, 0) == 0;
  }

 private:
  int descriptor_;
};

struct Holder {
  pid_t pid = 0;
  unsigned long long started = 0;
};

std::string read_small(int file) {
  std::array<char, 1024> text{};
  const ssize_t size = ::pread(file, text.data(), text.size() - 1, 0);
  return {text.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
}

struct Identity {
  std::string command;
  unsigned long long started = 0;
};

// From proc(5) stat, which stays readable for a process that is not dumpable: field 2 and field 22.
Identity identity_of(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  const std::string stat = read_small(file);
  (void)::close(file);  // opened for reading
  const std::size_t open = stat.find('(');
  const std::size_t close = stat.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return {};
  Identity identity;
  identity.command = stat.substr(open + 1, close - open - 1);
  std::size_t at = close;
  for (int field = 2; field < 22 && at != std::string::npos; ++field)
    at = stat.find(' ', at + 1);
  if (at == std::string::npos || std::sscanf(stat.c_str() + at, "%llu", &identity.started) != 1) return {};
  return identity;
}

}  // namespace

core::Result<> AgentLock::open() {
  if (descriptor_ >= 0) return {};
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor_ < 0) return tl::unexpected(failed("open " + path_));
  return {};
}

core::Result<bool> AgentLock::try_take() {
  if (auto opened = open(); !opened) return tl::unexpected(opened.error());
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK || errno == EINTR) return false;
    return tl::unexpected(failed("flock " + path_));
  }
  // The pid of an agent that is dead must not be taken for the next one's.
  if (::ftruncate(descriptor_, 0) != 0) return tl::unexpected(failed("ftruncate " + path_));
  return true;
}

void AgentLock::release() {
  if (descriptor_ < 0) return;
  (void)::close(descriptor_);  // a lock, not data
  descriptor_ = -1;
}

core::Result<pid_t> AgentLock::kill_holder(const std::string& program) {
  if (auto opened = open(); !opened) return tl::unexpected(opened.error());
  Holder holder;
  const std::string line = read_small(descriptor_);
  if (std::sscanf(line.c_str(), "%d %llu", &holder.pid, &holder.started) != 2 || holder.pid <= 1 ||
      holder.pid == ::getpid())
    return core::fail(core::Errc::not_found, path_ + " names no process");
  // First the pidfd, then the look: whatever pid means later, the pidfd means what was looked at.
  const Pidfd process(holder.pid);
  if (!process.ok()) return core::fail(core::Errc::not_found, path_ + " names a process that is gone");
  const Identity identity = identity_of(holder.pid);
  const std::string command = program.substr(program.rfind('/') + 1).substr(0, k_command_name);
  if (identity.started != holder.started || identity.command != command)
    return core::fail(core::Errc::not_found, path_ + " names a process that is another one now");
  if (!process.kill()) return tl::unexpected(failed("pidfd_send_signal"));
  return holder.pid;
}

}  // namespace mailotp::daemon
