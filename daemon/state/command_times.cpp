#include "daemon/state/command_times.h"

#include <variant>

namespace mailotp::daemon {

void move_times(core::Command& command, core::Millis by) {
  std::visit([by](auto& c) { c.at += by; }, command);
  if (auto* message = std::get_if<core::CreateMessage>(&command)) message->not_after += by;
  if (auto* flush = std::get_if<core::FlushOutbox>(&command); flush != nullptr && flush->after) {
    flush->after->due_at += by;
    flush->after->last += by;
  }
  auto* suppression = std::get_if<core::PutSuppression>(&command);
  if (suppression != nullptr && suppression->until) *suppression->until += by;
}

void move_if_stamped_before(core::Command& command, core::Millis by, core::WallTime now) {
  const core::WallTime at = std::visit([](const auto& c) { return c.at; }, command);
  if (std::chrono::abs(at + by - now) < std::chrono::abs(at - now)) move_times(command, by);
}

}  // namespace mailotp::daemon
