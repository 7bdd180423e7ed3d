// GET /metrics: what is counted and what is now, as one text (docs/METRICS.md). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/store.h"
#include "core/time.h"
#include "daemon/api/views.h"
#include "daemon/http/uid_loads.h"
#include "daemon/metrics/process_figures.h"
#include "daemon/metrics/tally.h"

namespace mailotp::daemon {

// What the parts on the loop have in hand.
struct LoopFigures {
  struct Socket {
    std::string name;  // "apps"
    UidLoad load;      // of all uids
  };
  struct Agent {
    std::string name;  // "smtp"
    bool ready = false;
    std::uint64_t restarts = 0;
  };
  std::vector<Socket> sockets;
  std::vector<Agent> agents;
  std::size_t waits = 0;
  std::size_t event_streams = 0;
  std::uint64_t log_lines_dropped = 0;
  core::WallTime started;
};

struct MetricsView {
  const core::Config& config;
  const Tally& tally;
  const ReadyView& health;
  const LoopFigures& loop;
  const ProcessFigures& process;
  const core::Stats* stats;  // null: the store cannot be read; its families are left out
};
[[nodiscard]] std::string metrics_text(const MetricsView& view);

}  // namespace mailotp::daemon
