#include "daemon/api/templates_api.h"

#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "daemon/api/answers.h"
#include "daemon/api/orders.h"
#include "daemon/api/template_requests.h"
#include "daemon/api/template_views.h"
#include "daemon/api/views.h"
#include "daemon/state/clock.h"

namespace mailotp::daemon {

namespace {

// Who tests waits for it: what has not left by then is over, and the mail says that its code lives so long.
constexpr core::Millis k_test_life = core::Seconds{600};
constexpr const char* k_preview_recipient = "alice@example.org";
constexpr const char* k_test_metadata = R"({"test_send":true})";

void list_templates(Services& services, const HttpRequest& request, Responder responder) {
  const auto app = known_app(query_value(request, "app"), services.in_force->config);
  if (!app) return responder.respond(make_problem(app.error(), request.request_id));
  responder.respond(ok_json(templates_json(services.in_force->composer->outlines(*app))));
}

// What compose() needs for a mail of the template with a made-up code, where it shows one.
core::ComposeRequest compose_request(const core::Config& config, const TemplateRequest& use,
                                     const core::TemplateOutline& outline, const core::Id& message,
                                     core::WallTime at) {
  const core::TemplateLocale& locale = outline.locales.front();
  core::ComposeRequest out;
  out.app = use.app;
  out.template_name = outline.name;
  out.locale = use.locale;
  out.message = message;
  out.at = at;
  out.variables = with_samples(use.variables, outline);
  out.binding = binding_with_samples(use.binding, locale);
  if (locale.uses_code) {
    out.life = k_test_life;
    out.code = made_up_code(config.purposes.at(use.purpose).code);
    out.purpose = use.purpose;
  }
  return out;
}

HttpResponse no_template(const std::string& request_id) {
  return problem(Problem::not_found, "there is no template of this name", request_id);
}

void preview(Services& services, const HttpRequest& request, const std::string& name, Responder responder) {
  const auto use = parse_preview(request.body, services.in_force->config);
  if (!use) return responder.respond(make_problem(use.error(), request.request_id));
  const auto outline = services.in_force->composer->outline(use->app, name, use->locale);
  if (!outline) return responder.respond(no_template(request.request_id));
  const core::WallTime at = wall_now();
  core::ComposeRequest compose =
      compose_request(services.in_force->config, *use, *outline, services.ids.next(at), at);
  compose.recipient = *core::parse_address(k_preview_recipient);
  const auto mail = services.in_force->composer->compose(compose);
  if (!mail) return responder.respond(refusal_answer(refusal_of(mail.error()), request.request_id));
  responder.respond(ok_json(preview_json(*outline, dissect(std::string(mail->content.reveal())))));
}

HttpResponse sent_answer(const core::MessageView& message) {
  HttpResponse response = ok_json(outbox_row_json(message, wall_now()), 201);
  response.headers.emplace_back("Location", "/v1/outbox/" + core::to_string(message.id));
  return response;
}

void test_send(Services& services, const HttpRequest& request, const std::string& name, Responder responder) {
  auto parsed = parse_test_send(request.body, services.in_force->config);
  if (!parsed) return responder.respond(make_problem(parsed.error(), request.request_id));
  const TemplateRequest& use = parsed->use;
  const auto outline = services.in_force->composer->outline(use.app, name, use.locale);
  if (!outline) return responder.respond(no_template(request.request_id));
  core::CreateMessage command;
  command.at = wall_now();
  command.id = services.ids.next(command.at);
  core::ComposeRequest compose =
      compose_request(services.in_force->config, use, *outline, command.id, command.at);
  compose.recipient = parsed->recipient;
  auto mail = services.in_force->composer->compose(compose);
  if (!mail) return responder.respond(refusal_answer(refusal_of(mail.error()), request.request_id));
  command.app = use.app;
  command.recipient = std::move(parsed->recipient);
  command.template_name = name;
  command.not_after = command.at + k_test_life;
  command.metadata = k_test_metadata;
  command.mail = std::move(*mail);
  command.actor = actor_of(request);
  const std::string line = fmt::format("event=template_test_sent id={} template={} app={} uid={}",
                                       core::to_string(command.id), name, use.app, request.peer.uid);
  auto held = std::make_shared<Responder>(std::move(responder));  // std::function wants copies
  const bool asked = services.store.submit(
      std::move(command), [&services, held, line, id = request.request_id](const core::Outcome& outcome) {
        if (!outcome) return held->respond(error_answer(outcome.error(), id));
        if (const auto* refusal = std::get_if<core::Refusal>(&*outcome))
          return held->respond(refusal_answer(*refusal, id));
        const auto* sent = std::get_if<core::MessageAnswer>(&*outcome);
        if (sent == nullptr) return held->respond(problem(Problem::internal, "no answer", id));
        services.log.write(core::LogLevel::notice, line);
        held->respond(sent_answer(sent->message));
      });
  if (!asked)
    held->respond(problem(Problem::overloaded, "more requests wait than can be taken", request.request_id));
}

}  // namespace

void add_templates_api(Router& router, Services& services) {
  router.on("GET", "/v1/templates",
            [&services](const HttpRequest& request, const std::string&, Responder responder) {
              list_templates(services, request, std::move(responder));
            });
  router.on("POST", "/v1/templates/{name}/preview",
            [&services](const HttpRequest& request, const std::string& name, Responder responder) {
              preview(services, request, name, std::move(responder));
            });
  router.on("POST", "/v1/templates/{name}/test-send",
            [&services](const HttpRequest& request, const std::string& name, Responder responder) {
              test_send(services, request, name, std::move(responder));
            });
}

}  // namespace mailotp::daemon
