#include "daemon/api/timeline_api.h"

#include <utility>

#include "daemon/api/lists.h"
#include "daemon/api/views.h"

namespace mailotp::daemon {

namespace {

Parsed<std::optional<core::Id>> query_id(const HttpRequest& request, const std::string& name) {
  const std::string text = query_value(request, name);
  if (text.empty()) return std::optional<core::Id>{};
  const auto id = core::parse_id(text);
  if (!id) return bad_parameter(name, id.error().what);
  return std::optional(*id);
}

Parsed<core::TimelineFilter> filter_of(const HttpRequest& request) {
  core::TimelineFilter filter;
  auto recipient = query_address(request, "recipient");
  if (!recipient) return tl::unexpected(recipient.error());
  const auto challenge = query_id(request, "challenge");
  if (!challenge) return tl::unexpected(challenge.error());
  const auto message = query_id(request, "message");
  if (!message) return tl::unexpected(message.error());
  filter.recipient = std::move(*recipient);
  filter.challenge = *challenge;
  filter.message = *message;
  const int asked =
      (filter.recipient.empty() ? 0 : 1) + (filter.challenge ? 1 : 0) + (filter.message ? 1 : 0);
  if (asked != 1) return bad_parameter("recipient", "give one of recipient, challenge and message");
  return filter;
}

void get_timeline(Services& services, const HttpRequest& request, Responder responder) {
  const auto page = page_of(request);
  if (!page) return responder.respond(make_problem(page.error(), request.request_id));
  const auto filter = filter_of(request);
  if (!filter) return responder.respond(make_problem(filter.error(), request.request_id));
  read_and_answer<core::PageOf<core::TimelineItem>>(
      services, request.request_id, std::move(responder),
      [filter = *filter, page = *page](core::StoreReader& store) { return store.timeline(filter, page); },
      [](const core::PageOf<core::TimelineItem>& found) { return timeline_json(found); });
}

}  // namespace

void add_timeline_api(Router& router, Services& services) {
  router.on("GET", "/v1/timeline",
            [&services](const HttpRequest& request, const std::string&, Responder responder) {
              get_timeline(services, request, std::move(responder));
            });
}

}  // namespace mailotp::daemon
