#include "ctl/confirm.h"

#include <array>
#include <cstdio>
#include <string_view>

#include <unistd.h>

namespace mailotp::ctl {

Attempt<void> confirm(const std::string& question) {
  if (isatty(STDIN_FILENO) != 1)
    return tl::unexpected(Failure{ExitCode::usage, "nobody can be asked, stdin is no terminal: say --yes"});
  (void)std::fprintf(stderr, "%s [y/N] ", question.c_str());
  (void)std::fflush(stderr);
  std::array<char, 64> line{};
  const bool read = std::fgets(line.data(), line.size(), stdin) != nullptr;
  const std::string_view said(read ? line.data() : "");
  for (const std::string_view yes : {"y\n", "Y\n", "yes\n", "Yes\n", "YES\n"}) {
    if (said == yes) return {};
  }
  return tl::unexpected(Failure{ExitCode::refused, "nothing was done"});
}

}  // namespace mailotp::ctl
