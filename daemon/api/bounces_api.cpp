#include "daemon/api/bounces_api.h"

#include <utility>

#include <fmt/format.h>

#include "daemon/api/answers.h"
#include "daemon/api/bounce_requests.h"
#include "daemon/api/lists.h"
#include "daemon/api/orders.h"
#include "daemon/api/requests.h"
#include "daemon/api/views.h"
#include "daemon/state/clock.h"

namespace mailotp::daemon {

namespace {

Parsed<std::optional<core::BounceKind>> kind_of(const std::string& name) {
  if (name.empty()) return std::optional<core::BounceKind>{};
  for (int i = 0; i < core::k_bounce_kinds; ++i) {
    const auto kind = static_cast<core::BounceKind>(i);
    if (name == core::to_string(kind)) return std::optional{kind};
  }
  return bad_parameter("kind", "must be bounce, delay, success, auto-reply, feedback or none");
}

Parsed<core::BounceFilter> filter_of(const HttpRequest& request) {
  core::BounceFilter filter;
  filter.app = query_value(request, "app");
  auto recipient = query_address(request, "recipient");
  if (!recipient) return tl::unexpected(recipient.error());
  filter.recipient = std::move(*recipient);
  const auto kind = kind_of(query_value(request, "kind"));
  if (!kind) return tl::unexpected(kind.error());
  filter.kind = *kind;
  if (const std::string name = query_value(request, "class"); !name.empty()) {
    const auto bounce_class = core::parse_bounce_class(name);
    if (!bounce_class) return bad_parameter("class", bounce_class.error().what);
    filter.bounce_class = *bounce_class;
  }
  if (const std::string text = query_value(request, "message"); !text.empty()) {
    const auto message = core::parse_id(text);
    if (!message) return bad_parameter("message", "must be the id of a message");
    filter.message = *message;
  }
  return filter;
}

void list_bounces(Services& services, const HttpRequest& request, Responder responder) {
  const auto page = page_of(request);
  if (!page) return responder.respond(make_problem(page.error(), request.request_id));
  const auto filter = filter_of(request);
  if (!filter) return responder.respond(make_problem(filter.error(), request.request_id));
  read_and_answer<core::PageOf<core::BounceView>>(
      services, request.request_id, std::move(responder),
      [filter = *filter, page = *page](core::StoreReader& store) { return store.bounces(filter, page); },
      bounces_json);
}

void list_suppressions(Services& services, const HttpRequest& request, Responder responder) {
  const auto page = page_of(request);
  if (!page) return responder.respond(make_problem(page.error(), request.request_id));
  const auto recipient = query_address(request, "recipient");
  if (!recipient) return responder.respond(make_problem(recipient.error(), request.request_id));
  read_and_answer<core::PageOf<core::SuppressionView>>(
      services, request.request_id, std::move(responder),
      [recipient = *recipient, page = *page](core::StoreReader& store) {
        return store.suppressions(recipient, page, wall_now());
      },
      suppressions_json);
}

void report_bounce(Services& services, const HttpRequest& request, Responder responder) {
  auto notice = parse_bounce(request.body);
  if (!notice) return responder.respond(make_problem(notice.error(), request.request_id));
  core::ReportBounce command;
  command.at = wall_now();
  command.message_id = std::move(notice->message_id);
  command.envid = std::move(notice->envid);
  command.recipient = std::move(notice->recipient);
  command.actor = actor_of(request);
  order(services, std::move(command), request.request_id, std::move(responder),
        [](const core::Answer& answer) {
          const auto* recorded = std::get_if<core::BounceRecorded>(&answer);
          return bounce_json(recorded != nullptr ? recorded->bounce : core::BounceView{});
        });
}

void put_suppression(Services& services, const HttpRequest& request, const std::string& text,
                     Responder responder) {
  auto address = core::parse_address(text);
  if (!address)
    return responder.respond(problem(Problem::invalid_recipient, address.error().what, request.request_id));
  core::PutSuppression command;
  command.at = wall_now();
  const auto asked = parse_suppression(request.body, command.at);
  if (!asked) return responder.respond(make_problem(asked.error(), request.request_id));
  command.address = std::move(*address);
  command.bounce_class = asked->bounce_class;
  command.until = asked->until;
  command.actor = actor_of(request);
  order(services, std::move(command), request.request_id, std::move(responder),
        [&services, uid = request.peer.uid](const core::Answer& answer) {
          const auto* put = std::get_if<core::SuppressionAnswer>(&answer);
          const core::SuppressionView view = put != nullptr ? put->suppression : core::SuppressionView{};
          services.log.write(core::LogLevel::notice, fmt::format("event=suppression_put class={} uid={}",
                                                                 core::to_string(view.bounce_class), uid));
          return suppression_json(view);
        });
}

void drop_suppression(Services& services, const HttpRequest& request, const std::string& text,
                      Responder responder) {
  auto address = core::parse_address(text);
  if (!address)
    return responder.respond(problem(Problem::invalid_recipient, address.error().what, request.request_id));
  if (const auto nothing = parse_nothing(request.body); !nothing)
    return responder.respond(make_problem(nothing.error(), request.request_id));
  core::DropSuppression command;
  command.at = wall_now();
  command.address = std::move(*address);
  command.actor = actor_of(request);
  const std::string mailbox = command.address.mailbox();
  order(services, std::move(command), request.request_id, std::move(responder),
        [&services, mailbox, uid = request.peer.uid](const core::Answer&) {
          services.log.write(core::LogLevel::notice, fmt::format("event=suppression_dropped uid={}", uid));
          return unsuppressed_json(mailbox);
        });
}

}  // namespace

void add_bounces_api(Router& router, Services& services) {
  using Call = void (*)(Services&, const HttpRequest&, Responder);
  const auto on = [&](std::string_view method, std::string_view path, Call call) {
    router.on(method, path,
              [&services, call](const HttpRequest& request, const std::string&, Responder responder) {
                call(services, request, std::move(responder));
              });
  };
  on("GET", "/v1/bounces", list_bounces);
  on("POST", "/v1/bounces", report_bounce);
  on("GET", "/v1/suppressions", list_suppressions);
  using CallOfOne = void (*)(Services&, const HttpRequest&, const std::string&, Responder);
  const auto on_one = [&](std::string_view method, CallOfOne call) {
    router.on(method, "/v1/suppressions/{address}",
              [&services, call](const HttpRequest& request, const std::string& address, Responder responder) {
                call(services, request, address, std::move(responder));
              });
  };
  on_one("PUT", put_suppression);
  on_one("DELETE", drop_suppression);
}

}  // namespace mailotp::daemon
