#include "ctl/verbs.h"

#include <variant>

#include "ctl/verb.h"

namespace mailotp::ctl {

Attempt<void> run(const CommandLine& command, const Screen& screen) {
  const Run run{command, screen};
  return std::visit([&run](const auto& verb) { return carry_out(verb, run); }, command.verb);
}

}  // namespace mailotp::ctl
