#include "ctl/daemon_program.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/text.h"

namespace mailotp::ctl {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* k_installed = "/usr/sbin/mailotpd";
constexpr std::size_t k_max_output = 4UL << 20;
constexpr std::chrono::seconds k_limit{120};

// Empty when the kernel does not tell.
std::string folder_of_this_program() {
  std::array<char, PATH_MAX> path{};
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  if (length <= 0 || static_cast<std::size_t>(length) == path.size()) return {};
  const std::string self(path.data(), static_cast<std::size_t>(length));
  return self.substr(0, self.rfind('/'));
}

Failure cannot_run(const std::string& program, const char* why) {
  return {ExitCode::refused, fmt::format("cannot run {}: {}", printable(program), why)};
}

// With its standard output in `pipe_end`. The error is errno's.
int spawn(pid_t& child, const std::string& program, const std::vector<std::string>& arguments, int pipe_end) {
  std::vector<std::string> words{program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words)
    argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  if (const int error = ::posix_spawn_file_actions_init(&actions); error != 0) return error;
  int error = ::posix_spawn_file_actions_adddup2(&actions, pipe_end, STDOUT_FILENO);
  if (error == 0)
    error = ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (error == 0) error = ::posix_spawn(&child, program.c_str(), &actions, nullptr, argv.data(), environ);
  (void)::posix_spawn_file_actions_destroy(&actions);  // it was initialised
  return error;
}

// Until the other end is closed; false: that took too long, or was too much.
bool read_to_end(int fd, std::string& out) {
  const auto end = Clock::now() + k_limit;
  std::array<char, 65'536> block{};
  while (out.size() <= k_max_output) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    pollfd wait{fd, POLLIN, 0};
    const int ready = left.count() <= 0 ? 0 : ::poll(&wait, 1, static_cast<int>(left.count()));
    if (ready == 0) return false;
    if (ready < 0) continue;  // EINTR
    const ssize_t got = ::read(fd, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0;
    out.append(block.data(), static_cast<std::size_t>(got));
  }
  return false;
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

std::string daemon_program() {
  const std::string folder = folder_of_this_program();
  // Beside this program in a build tree; under the same prefix where both are installed.
  for (const char* place : {"/mailotpd", "/../sbin/mailotpd"}) {
    std::string program = folder + place;
    if (!folder.empty() && ::access(program.c_str(), F_OK) == 0) return program;
  }
  return k_installed;
}

Attempt<ProgramEnd> run_program(const std::string& program, const std::vector<std::string>& arguments) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return tl::unexpected(cannot_run(program, std::strerror(errno)));
  pid_t child = 0;
  const int error = spawn(child, program, arguments, ends[1]);
  (void)::close(ends[1]);  // the child has its own
  ProgramEnd out;
  const bool whole = error == 0 && read_to_end(ends[0], out.output);
  (void)::close(ends[0]);  // it was only read
  if (error != 0) return tl::unexpected(cannot_run(program, std::strerror(error)));
  if (!whole) (void)::kill(child, SIGKILL);  // ours, and not yet waited for
  out.status = wait_for(child);
  if (!whole) return tl::unexpected(cannot_run(program, "it came to no end"));
  return out;
}

}  // namespace mailotp::ctl
