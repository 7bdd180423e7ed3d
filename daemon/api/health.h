// Whether the parts work, as /readyz tells it. Loop thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/delivery.h"
#include "core/result.h"
#include "daemon/api/views.h"

namespace mailotp::daemon {

class Health {
 public:
  explicit Health(const core::Config& config);

  void store_is(const core::Result<>& health);
  void relays_are(std::vector<ReadyView::Relay> relays);

  [[nodiscard]] const ReadyView& view() const { return view_; }

 private:
  void derive();
  ReadyView view_;
};

}  // namespace mailotp::daemon
