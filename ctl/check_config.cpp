#include "ctl/check_config.h"

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "ctl/text.h"

namespace mailotp::ctl {
namespace {

constexpr const char* k_installed = "/usr/sbin/mailotpd";

// Empty when the kernel does not tell.
std::string folder_of_this_program() {
  std::array<char, PATH_MAX> path{};
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  if (length <= 0 || static_cast<std::size_t>(length) == path.size()) return {};
  const std::string self(path.data(), static_cast<std::size_t>(length));
  return self.substr(0, self.rfind('/'));
}

void become(const std::string& program, const std::string& file) {
  std::array<std::string, 4> words{program, "--check", "--config", file};
  std::vector<char*> arguments;
  for (std::string& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  (void)::execv(program.c_str(), arguments.data());  // returns only on an error, which errno keeps
}

}  // namespace

Failure become_config_check(const std::string& file) {
  std::string program = k_installed;
  const std::string folder = folder_of_this_program();
  // Beside this program in a build tree; under the same prefix where both are installed.
  for (const char* place : {"/mailotpd", "/../sbin/mailotpd"}) {
    if (folder.empty()) break;
    become(folder + place, file);
    if (errno == ENOENT) continue;
    program = folder + place;
    break;
  }
  if (program == k_installed) become(program, file);
  return {ExitCode::refused, fmt::format("cannot run {}, which checks configurations: {}", printable(program),
                                         std::strerror(errno))};
}

}  // namespace mailotp::ctl
