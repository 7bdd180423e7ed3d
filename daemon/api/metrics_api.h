// GET /metrics, on the operators' socket and on one that serves nothing else. Loop thread.
#pragma once

#include <functional>

#include "daemon/api/health.h"
#include "daemon/api/in_force.h"
#include "daemon/api/metrics_view.h"
#include "daemon/api/router.h"
#include "daemon/metrics/tally.h"
#include "daemon/state/reader_thread.h"

namespace mailotp::daemon {

// All of it outlives the router.
struct MetricsSources {
  const InForce& in_force;
  const Tally& tally;
  const Health& health;
  ReaderThread& reader;
  std::function<LoopFigures()> loop;
};

void add_metrics_api(Router& router, const MetricsSources& sources);

}  // namespace mailotp::daemon
