#include "ctl/check_config.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "ctl/daemon_program.h"
#include "ctl/text.h"

namespace mailotp::ctl {

Failure become_config_check(const std::string& file) {
  const std::string program = daemon_program();
  std::array<std::string, 4> words{program, "--check", "--config", file};
  std::vector<char*> arguments;
  for (std::string& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  (void)::execv(program.c_str(), arguments.data());  // returns only on an error, which errno keeps
  return {ExitCode::refused, fmt::format("cannot run {}, which checks configurations: {}", printable(program),
                                         std::strerror(errno))};
}

}  // namespace mailotp::ctl
