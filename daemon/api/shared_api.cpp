#include "daemon/api/shared_api.h"

#include <charconv>
#include <optional>
#include <utility>

#include "daemon/api/answers.h"
#include "daemon/api/apps.h"
#include "daemon/api/captured.h"
#include "daemon/api/event_streams.h"
#include "daemon/api/health.h"
#include "daemon/api/lists.h"
#include "daemon/api/openapi.h"
#include "daemon/api/views.h"
#include "daemon/api/waits.h"
#include "daemon/state/clock.h"

namespace mailotp::daemon {

namespace {

constexpr std::uint64_t k_max_wait_seconds = 60;

// The query's whole number, or nothing when it is absent; an error names the parameter.
core::Result<std::optional<std::uint64_t>> query_number(const HttpRequest& request, std::string_view name,
                                                        std::uint64_t max) {
  const std::string text = query_value(request, name);
  if (text.empty()) return std::optional<std::uint64_t>{};
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > max)
    return core::fail(core::Errc::invalid,
                      std::string(name) + ": must be a whole number up to " + std::to_string(max));
  return std::optional<std::uint64_t>{value};
}

HttpResponse bad_query(const core::Error& error, const std::string& request_id) {
  ProblemDetail refused;
  refused.problem = Problem::invalid_field;
  refused.detail = error.what;
  refused.field = error.what.substr(0, error.what.find(':'));
  return make_problem(refused, request_id);
}

// GET of a challenge or message, with ?wait= and ?revision=.
void get_one(Services& services, Audience audience, Subject subject, const HttpRequest& request,
             const std::string& id, Responder responder) {
  auto app = app_of(services, audience, request);
  if (!app) return responder.respond(make_problem(app.error(), request.request_id));
  const auto parsed = core::parse_id(id);
  if (!parsed) {
    responder.respond(problem(Problem::not_found, "there is none of this id", request.request_id));
    return;
  }
  const auto wait = query_number(request, "wait", k_max_wait_seconds);
  const auto revision = query_number(request, "revision", UINT64_MAX);
  if (!wait || !revision) {
    responder.respond(bad_query(wait ? revision.error() : wait.error(), request.request_id));
    return;
  }
  WaitRequest waiting;
  waiting.subject = subject;
  waiting.id = *parsed;
  waiting.app = std::move(*app);
  waiting.uid = request.peer.uid;
  waiting.request_id = request.request_id;
  if (*revision) {
    waiting.revision = **revision;
    waiting.patience = core::Seconds{wait->value_or(0)};
  }
  services.waits.add(std::move(waiting), std::move(responder));
}

void get_recipient(Services& services, Audience audience, const HttpRequest& request, const std::string& text,
                   Responder responder) {
  auto app = app_of(services, audience, request);
  if (!app) return responder.respond(make_problem(app.error(), request.request_id));
  auto address = core::parse_address(text);
  if (!address) {
    responder.respond(problem(Problem::invalid_recipient, address.error().what, request.request_id));
    return;
  }
  read_and_answer<core::RecipientView>(
      services, request.request_id, std::move(responder),
      [app = std::move(*app), address = std::move(*address)](core::StoreReader& store) {
        return store.recipient(app, address, wall_now());
      },
      recipient_json);
}

void get_events(Services& services, Audience audience, const HttpRequest& request, Responder responder) {
  auto app = app_of(services, audience, request);
  if (!app) return responder.respond(make_problem(app.error(), request.request_id));
  EventRequest asked;
  asked.app = std::move(*app);
  asked.uid_shown = audience == Audience::operators ? UidShown::yes : UidShown::no;
  asked.uid = request.peer.uid;
  asked.request_id = request.request_id;
  if (request.header("accept").find("application/x-ndjson") != std::string_view::npos)
    asked.format = EventFormat::ndjson;
  // A consumer of server-sent events comes back to the same URL, and with the header knows better.
  std::string cursor(request.header("last-event-id"));
  if (cursor.empty()) cursor = query_value(request, "after");
  if (!cursor.empty()) {
    // One that cannot be read is refused like one that no event had.
    asked.after = parse_event_cursor(cursor).value_or(INT64_MAX);
  }
  services.events.add(std::move(asked), std::move(responder));
}

void get_captured(Services& services, Audience audience, const HttpRequest& request, Responder responder) {
  auto app = app_of(services, audience, request);
  if (!app) return responder.respond(make_problem(app.error(), request.request_id));
  const auto limit = query_number(request, "limit", 500);
  if (!limit) {
    responder.respond(bad_query(limit.error(), request.request_id));
    return;
  }
  CapturedQuery query;
  query.directory = services.in_force->config.relays.front().directory;
  query.app = std::move(*app);
  query.recipient = query_value(request, "recipient");
  query.cursor = query_value(request, "cursor");
  query.limit = limit->value_or(50);
  auto held = std::make_shared<Responder>(std::move(responder));  // std::function wants copies
  const bool asked = services.reader.read<core::PageOf<CapturedMail>>(
      [query = std::move(query)](core::StoreReader& store) { return read_captured(store, query); },
      [held, id = request.request_id](core::Result<core::PageOf<CapturedMail>> page) {
        held->respond(page ? ok_json(captured_json(*page)) : error_answer(page.error(), id));
      });
  if (!asked)
    held->respond(problem(Problem::overloaded, "too many requests wait to be read", request.request_id));
}

}  // namespace

Parsed<std::string> app_of(Services& services, Audience audience, const HttpRequest& request) {
  if (audience == Audience::operators) return query_value(request, "app");
  return services.apps.find(request).map([](const core::AppConfig* app) { return app->name; });
}

void add_shared_api(Router& router, Services& services, Audience audience) {
  router.on("GET", "/healthz", [](const HttpRequest&, const std::string&, Responder responder) {
    responder.respond(ok_json(R"({"alive":true})"));
  });
  router.on("GET", "/readyz",
            [&services, audience](const HttpRequest&, const std::string&, Responder responder) {
              const ReadyView& view = services.health.view();
              const ReadyFor whom = audience == Audience::operators ? ReadyFor::operators : ReadyFor::apps;
              responder.respond(ok_json(ready_json(view, whom), view.ready ? 200 : 503));
            });
  router.on("GET", "/v1", [&services](const HttpRequest&, const std::string&, Responder responder) {
    responder.respond(ok_json(version_json(services.health.view().mode)));
  });
  router.on("GET", "/v1/openapi.json", [](const HttpRequest&, const std::string&, Responder responder) {
    responder.respond(ok_json(std::string(k_openapi_json)));
  });
  router.on("GET", "/v1/challenges/{id}",
            [&services, audience](const HttpRequest& request, const std::string& id, Responder responder) {
              get_one(services, audience, Subject::challenge, request, id, std::move(responder));
            });
  router.on("GET", "/v1/messages/{id}",
            [&services, audience](const HttpRequest& request, const std::string& id, Responder responder) {
              get_one(services, audience, Subject::message, request, id, std::move(responder));
            });
  router.on("GET", "/v1/events",
            [&services, audience](const HttpRequest& request, const std::string&, Responder responder) {
              get_events(services, audience, request, std::move(responder));
            });
  router.on(
      "GET", "/v1/recipients/{address}",
      [&services, audience](const HttpRequest& request, const std::string& address, Responder responder) {
        get_recipient(services, audience, request, address, std::move(responder));
      });
  if (services.in_force->config.daemon.mode != core::Mode::development) return;
  router.on("GET", "/v1/captured",
            [&services, audience](const HttpRequest& request, const std::string&, Responder responder) {
              get_captured(services, audience, request, std::move(responder));
            });
}

}  // namespace mailotp::daemon
