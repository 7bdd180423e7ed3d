#include "daemon/api/outbox_orders.h"

#include <memory>
#include <string_view>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "daemon/api/answers.h"
#include "daemon/api/orders.h"
#include "daemon/api/requests.h"
#include "daemon/api/views.h"
#include "daemon/state/clock.h"

namespace mailotp::daemon {

namespace {

std::string_view log_event(core::MessageOrder order) {
  switch (order) {
    case core::MessageOrder::retry:
      return "message_retried";
    case core::MessageOrder::hold:
      return "message_held";
    case core::MessageOrder::release:
      return "message_released";
    case core::MessageOrder::cancel:
      return "message_canceled";
  }
  return "";
}

void order_message(Services& services, core::MessageOrder what, const HttpRequest& request,
                   const std::string& id, Responder responder) {
  const auto parsed = core::parse_id(id);
  if (!parsed)
    return responder.respond(
        problem(Problem::not_found, "there is no message of this id", request.request_id));
  if (const auto nothing = parse_nothing(request.body); !nothing)
    return responder.respond(make_problem(nothing.error(), request.request_id));
  const core::OrderMessage command{
      .at = wall_now(), .id = *parsed, .order = what, .actor = actor_of(request)};
  order(services, command, request.request_id, std::move(responder),
        [&services, command](const core::Answer& answer) {
          const auto* found = std::get_if<core::MessageAnswer>(&answer);
          const core::MessageView view = found != nullptr ? found->message : core::MessageView{};
          services.log.write(
              core::LogLevel::notice,
              fmt::format("event={} id={} state={} uid={}", log_event(command.order),
                          core::to_string(command.id), core::to_string(view.state), command.actor.uid));
          return outbox_row_json(view, wall_now());
        });
}

// A flush on its way: one step a commit, until nothing is left.
class Flushing : public std::enable_shared_from_this<Flushing> {
 public:
  Flushing(Services& services, core::Actor actor, std::string request_id, Responder responder)
      : services_(services), request_id_(std::move(request_id)), responder_(std::move(responder)) {
    next_.actor = actor;
  }

  void step() {
    next_.at = wall_now();
    // Kept alive by its own completion.
    const bool asked = services_.store.submit(
        next_, [self = shared_from_this()](const core::Outcome& outcome) { self->stepped(outcome); });
    if (!asked) answer(problem(Problem::overloaded, "more requests wait than can be taken", request_id_));
  }

 private:
  void stepped(const core::Outcome& outcome) {
    if (!outcome) return answer(error_answer(outcome.error(), request_id_));
    const auto* flushed = std::get_if<core::Flushed>(&*outcome);
    if (flushed == nullptr) return answer(problem(Problem::internal, "no answer", request_id_));
    messages_ += flushed->messages;
    if (flushed->next) {
      next_.after = flushed->next;
      return step();
    }
    answer(ok_json(flushed_json(messages_)));
  }

  // Also after a failure: what earlier steps did is done.
  void answer(HttpResponse response) {
    services_.log.write(core::LogLevel::notice,
                        fmt::format("event=outbox_flushed messages={} uid={}", messages_, next_.actor.uid));
    responder_.respond(std::move(response));
  }

  Services& services_;
  core::FlushOutbox next_;
  std::int64_t messages_ = 0;
  std::string request_id_;
  Responder responder_;
};

void flush_outbox(Services& services, const HttpRequest& request, Responder responder) {
  if (const auto nothing = parse_nothing(request.body); !nothing)
    return responder.respond(make_problem(nothing.error(), request.request_id));
  std::make_shared<Flushing>(services, actor_of(request), request.request_id, std::move(responder))->step();
}

}  // namespace

void add_outbox_orders(Router& router, Services& services) {
  const auto on = [&](std::string_view path, core::MessageOrder what) {
    router.on("POST", path,
              [&services, what](const HttpRequest& request, const std::string& id, Responder responder) {
                order_message(services, what, request, id, std::move(responder));
              });
  };
  on("/v1/outbox/{id}/retry", core::MessageOrder::retry);
  on("/v1/outbox/{id}/hold", core::MessageOrder::hold);
  on("/v1/outbox/{id}/release", core::MessageOrder::release);
  on("/v1/outbox/{id}/cancel", core::MessageOrder::cancel);
  router.on("POST", "/v1/outbox/flush",
            [&services](const HttpRequest& request, const std::string&, Responder responder) {
              flush_outbox(services, request, std::move(responder));
            });
}

}  // namespace mailotp::daemon
