#include "daemon/api/orders.h"

#include <memory>
#include <utility>
#include <variant>

#include "daemon/api/answers.h"

namespace mailotp::daemon {

core::Actor actor_of(const HttpRequest& request) {
  return {core::ActorKind::operator_, request.peer.uid};
}

void order(Services& services, core::Command command, const std::string& request_id, Responder responder,
           std::function<std::string(const core::Answer&)> show) {
  auto held = std::make_shared<Responder>(std::move(responder));  // std::function wants copies
  const bool asked = services.store.submit(
      std::move(command), [held, request_id, show = std::move(show)](const core::Outcome& outcome) {
        if (!outcome) return held->respond(error_answer(outcome.error(), request_id));
        if (const auto* refusal = std::get_if<core::Refusal>(&*outcome))
          return held->respond(refusal_answer(*refusal, request_id));
        held->respond(ok_json(show(*outcome)));
      });
  if (!asked) held->respond(problem(Problem::overloaded, "more requests wait than can be taken", request_id));
}

}  // namespace mailotp::daemon
