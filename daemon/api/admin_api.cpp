#include "daemon/api/admin_api.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "core/check.h"
#include "daemon/api/answers.h"
#include "daemon/api/health.h"
#include "daemon/api/relay_tests.h"
#include "daemon/api/requests.h"
#include "daemon/api/views.h"
#include "daemon/state/clock.h"

namespace mailotp::daemon {

namespace {

// Reads with `work` on the reader's thread and answers with what `show` makes of it.
template <class R>
void read_and_answer(Services& services, const std::string& request_id, Responder responder,
                     std::function<core::Result<R>(core::StoreReader&)> work,
                     std::function<std::string(const R&)> show) {
  auto held = std::make_shared<Responder>(std::move(responder));  // std::function wants copies
  const bool asked = services.reader.read<R>(
      std::move(work), [held, request_id, show = std::move(show)](core::Result<R> result) {
        held->respond(result ? ok_json(show(*result)) : error_answer(result.error(), request_id));
      });
  if (!asked) held->respond(problem(Problem::overloaded, "too many requests wait to be read", request_id));
}

tl::unexpected<ProblemDetail> bad_parameter(const std::string& name, const std::string& why) {
  ProblemDetail refused;
  refused.problem = Problem::invalid_field;
  refused.field = name;
  refused.detail = name + ": " + why;
  return tl::unexpected(std::move(refused));
}

tl::expected<core::Page, ProblemDetail> page_of(const HttpRequest& request) {
  core::Page page;
  page.cursor = query_value(request, "cursor");
  const std::string limit = query_value(request, "limit");
  if (limit.empty()) return page;
  const auto [end, error] = std::from_chars(limit.data(), limit.data() + limit.size(), page.limit);
  if (error != std::errc{} || end != limit.data() + limit.size() || page.limit < 1 || page.limit > 500)
    return bad_parameter("limit", "must be 1 to 500");
  return page;
}

tl::expected<core::OutboxFilter, ProblemDetail> filter_of(const HttpRequest& request) {
  core::OutboxFilter filter;
  filter.app = query_value(request, "app");
  filter.relay = query_value(request, "relay");
  filter.recipient = query_value(request, "recipient");
  if (!filter.recipient.empty()) {
    const auto address = core::parse_address(filter.recipient);
    if (!address) return bad_parameter("recipient", address.error().what);
  }
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
  return std::ranges::any_of(services.config.relays,
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
        CHECK(relay != relays.end());
        held->respond(ok_json(relay_json(*relay)));
      });
  if (!asked)
    held->respond(problem(Problem::overloaded, "more requests wait than can be taken", request.request_id));
}

}  // namespace

void add_admin_api(Router& router, Services& services) {
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
