#include "daemon/api/admin_api.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "daemon/api/answers.h"
#include "daemon/api/bounces_api.h"
#include "daemon/api/health.h"
#include "daemon/api/lists.h"
#include "daemon/api/outbox_orders.h"
#include "daemon/api/relay_tests.h"
#include "daemon/api/requests.h"
#include "daemon/api/templates_api.h"
#include "daemon/api/timeline_api.h"
#include "daemon/api/upkeep_api.h"
#include "daemon/api/views.h"
#include "daemon/state/clock.h"

namespace mailotp::daemon {

namespace {

Parsed<core::OutboxFilter> filter_of(const HttpRequest& request) {
  core::OutboxFilter filter;
  filter.app = query_value(request, "app");
  filter.relay = query_value(request, "relay");
  auto recipient = query_address(request, "recipient");
  if (!recipient) return tl::unexpected(recipient.error());
  filter.recipient = std::move(*recipient);
  if (const std::string name = query_value(request, "state"); !name.empty()) {
    const auto state = core::parse_message_state(name);
    if (!state) return bad_parameter("state", state.error().what);
    filter.state = *state;
  }
  return filter;
}

void list_outbox(Services& services, const HttpRequest& request, Responder responder) {
  const auto page = page_of(request);
  if (!page) return responder.respond(make_problem(page.error(), request.request_id));
  const auto filter = filter_of(request);
  if (!filter) return responder.respond(make_problem(filter.error(), request.request_id));
  read_and_answer<core::PageOf<core::MessageView>>(
      services, request.request_id, std::move(responder),
      [filter = *filter, page = *page](core::StoreReader& store) { return store.outbox(filter, page); },
      [](const core::PageOf<core::MessageView>& found) { return outbox_json(found, wall_now()); });
}

void show_outbox(Services& services, const HttpRequest& request, const std::string& id, Responder responder) {
  const auto parsed = core::parse_id(id);
  if (!parsed)
    return responder.respond(
        problem(Problem::not_found, "there is no message of this id", request.request_id));
  read_and_answer<core::OutboxDetail>(
      services, request.request_id, std::move(responder),
      [id = *parsed](core::StoreReader& store) { return store.outbox_item(id); },
      [](const core::OutboxDetail& detail) { return outbox_item_json(detail, wall_now()); });
}

bool is_relay(const Services& services, const std::string& name) {
  return std::ranges::any_of(services.in_force->config.relays,
                             [&](const core::RelayConfig& relay) { return relay.name == name; });
}

void test_relay(Services& services, const HttpRequest& request, const std::string& name,
                Responder responder) {
  if (!is_relay(services, name))
    return responder.respond(
        problem(Problem::not_found, "there is no relay of this name", request.request_id));
  services.relay_tests.start(name, std::move(responder));
}

enum class RelayOrder : std::uint8_t { suspend, resume };

// It counts once it is committed, so that a restart obeys it too.
void order_relay(Services& services, RelayOrder order, const HttpRequest& request, const std::string& name,
                 Responder responder) {
  if (!is_relay(services, name))
    return responder.respond(
        problem(Problem::not_found, "there is no relay of this name", request.request_id));
  if (const auto nothing = parse_nothing(request.body); !nothing)
    return responder.respond(make_problem(nothing.error(), request.request_id));
  const core::SuspendRelay command{.at = wall_now(),
                                   .relay = name,
                                   .suspended = order == RelayOrder::suspend,
                                   .actor = {core::ActorKind::operator_, request.peer.uid}};
  auto held = std::make_shared<Responder>(std::move(responder));  // std::function wants copies
  const bool asked = services.store.submit(
      command, [&services, command, held, id = request.request_id](const core::Outcome& outcome) {
        if (!outcome) return held->respond(error_answer(outcome.error(), id));
        services.log.write(
            core::LogLevel::notice,
            fmt::format("event={} relay={} uid={}", command.suspended ? "relay_suspended" : "relay_resumed",
                        command.relay, command.actor.uid));
        services.on_suspend(command);
        const auto& relays = services.health.view().relays;
        const auto relay = std::ranges::find(relays, command.relay, &ReadyView::Relay::name);
        // A reload may have removed it since; the order stands, should it come back.
        if (relay == relays.end())
          return held->respond(problem(Problem::not_found, "there is no relay of this name any more", id));
        held->respond(ok_json(relay_json(*relay)));
      });
  if (!asked)
    held->respond(problem(Problem::overloaded, "more requests wait than can be taken", request.request_id));
}

}  // namespace

void add_admin_api(Router& router, Services& services) {
  add_bounces_api(router, services);
  add_outbox_orders(router, services);
  add_templates_api(router, services);
  add_timeline_api(router, services);
  add_upkeep_api(router, services);
  router.on("GET", "/v1/outbox",
            [&services](const HttpRequest& request, const std::string&, Responder responder) {
              list_outbox(services, request, std::move(responder));
            });
  router.on("GET", "/v1/outbox/{id}",
            [&services](const HttpRequest& request, const std::string& id, Responder responder) {
              show_outbox(services, request, id, std::move(responder));
            });
  router.on("GET", "/v1/relays", [&services](const HttpRequest&, const std::string&, Responder responder) {
    responder.respond(ok_json(relays_json(services.health.view())));
  });
  router.on("POST", "/v1/relays/{name}/test",
            [&services](const HttpRequest& request, const std::string& name, Responder responder) {
              test_relay(services, request, name, std::move(responder));
            });
  const auto order = [&](std::string_view path, RelayOrder what) {
    router.on("POST", path,
              [&services, what](const HttpRequest& request, const std::string& name, Responder responder) {
                order_relay(services, what, request, name, std::move(responder));
              });
  };
  order("/v1/relays/{name}/suspend", RelayOrder::suspend);
  order("/v1/relays/{name}/resume", RelayOrder::resume);
  router.on("GET", "/v1/stats",
            [&services](const HttpRequest& request, const std::string&, Responder responder) {
              read_and_answer<core::Stats>(
                  services, request.request_id, std::move(responder),
                  [](core::StoreReader& store) { return store.stats(wall_now()); },
                  [](const core::Stats& stats) { return stats_json(stats); });
            });
}

}  // namespace mailotp::daemon
