#include "daemon/api/metrics_api.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "daemon/api/answers.h"
#include "daemon/state/clock.h"

namespace mailotp::daemon {

namespace {

// What the reader's thread brings. A disk that fails is a reason to look at the rest.
struct Read {
  std::optional<core::Stats> stats;
  ProcessFigures process;
};

core::Result<Read> read_figures(core::StoreReader& store) {
  Read out;
  if (auto stats = store.stats(wall_now())) out.stats = std::move(*stats);
  out.process = process_figures();
  return out;
}

HttpResponse answer(const MetricsSources& sources, const Read& read) {
  const LoopFigures loop = sources.loop();
  HttpResponse out;
  out.content_type = k_exposition_type;
  out.body = metrics_text({.config = sources.in_force->config,
                           .tally = sources.tally,
                           .health = sources.health.view(),
                           .loop = loop,
                           .process = read.process,
                           .stats = read.stats ? &*read.stats : nullptr});
  return out;
}

}  // namespace

void add_metrics_api(Router& router, const MetricsSources& sources) {
  router.on("GET", "/metrics",
            [&sources](const HttpRequest& request, const std::string&, Responder responder) {
              auto held = std::make_shared<Responder>(std::move(responder));  // std::function wants copies
              const bool asked = sources.reader.read<Read>(
                  read_figures, [&sources, held, id = request.request_id](core::Result<Read> read) {
                    held->respond(read ? answer(sources, *read) : error_answer(read.error(), id));
                  });
              if (!asked)
                held->respond(
                    problem(Problem::overloaded, "too many requests wait to be read", request.request_id));
            });
}

}  // namespace mailotp::daemon
