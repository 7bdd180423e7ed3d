// Whether the parts work, as /readyz tells it. Loop thread.
#pragma once

#include <cstdint>
#include <string>

#include "core/config.h"
#include "core/delivery.h"
#include "core/result.h"
#include "daemon/api/views.h"

namespace mailotp::daemon {

class Health {
 public:
  explicit Health(const core::Config& config);

  void store_is(const core::Result<>& health);
  // The SMTP agent came or went; until a relay's own fact says otherwise, its relays are what it is.
  void agent_is(core::RelayCondition condition, core::WallTime now);
  // Whether that is news: a relay also reports each change of its connections.
  enum class News : std::uint8_t { no, yes };
  News relay_is(const core::RelayFact& fact, core::WallTime now);

  [[nodiscard]] const ReadyView& view() const { return view_; }

 private:
  void derive();
  ReadyView view_;
};

}  // namespace mailotp::daemon
