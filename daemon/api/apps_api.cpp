#include "daemon/api/apps_api.h"

#include <optional>
#include <utility>

#include "daemon/api/answers.h"
#include "daemon/api/asked.h"
#include "daemon/api/requests.h"
#include "daemon/api/views.h"
#include "daemon/state/clock.h"

namespace mailotp::daemon {

namespace {

core::Actor actor_of(const HttpRequest& request) {
  return {core::ActorKind::app, request.peer.uid};
}

template <class T>
bool refused(const Parsed<T>& parsed, const Asked& asked) {
  if (!parsed) asked.refuse(make_problem(parsed.error(), asked.request_id()));
  return !parsed;
}

HttpResponse challenge_answer(const core::ChallengeAnswer& answer) {
  switch (answer.disposition) {
    case core::Disposition::created: {
      HttpResponse response = ok_json(challenge_json(answer.challenge), 201);
      response.headers.emplace_back("Location", "/v1/challenges/" + core::to_string(answer.challenge.id));
      return response;
    }
    case core::Disposition::resent:
    case core::Disposition::sent:
      return ok_json(challenge_json(answer.challenge), 202);
    case core::Disposition::canceled:
      return ok_json(challenge_json(answer.challenge));
  }
  return ok_json(challenge_json(answer.challenge));
}

core::ComposeRequest compose_request(const core::CreateChallenge& command, const core::Id& message) {
  core::ComposeRequest request;
  request.app = command.app;
  request.template_name = command.template_name;
  request.locale = command.locale;
  request.recipient = command.recipient;
  request.message = message;
  request.challenge = command.id;
  request.at = command.at;
  request.life = command.terms.ttl;
  request.code = command.code.clone();
  request.variables = command.variables.clone();
  request.binding = command.binding.clone();
  request.purpose = command.purpose;
  return request;
}

// Makes code, ids and the first mail, all before the command is queued.
void create(Services& services, CreateRequest request, core::CreateChallenge::Reuse reuse,
            const core::Actor& actor, const Asked& asked) {
  core::CreateChallenge command;
  command.at = wall_now();
  command.id = services.ids.next(command.at);
  command.app = asked.app().name;
  asked.is_about(request.recipient, request.purpose);
  command.purpose = std::move(request.purpose);
  command.recipient = std::move(request.recipient);
  command.terms = request.terms;
  command.code = core::make_code(command.terms.code, services.random);
  command.template_name = std::move(request.template_name);
  command.locale = std::move(request.locale);
  command.variables = std::move(request.variables);
  command.binding = std::move(request.binding);
  command.metadata = std::move(request.metadata);
  command.reuse = reuse;
  command.suppressed = request.suppressed;
  command.client = std::move(request.client);
  command.actor = actor;
  // Composed even when nothing is to be sent yet: a template that does not render is refused here, not at the
  // send.
  const core::Id message = services.ids.next(command.at);
  auto mail = asked.composer().compose(compose_request(command, message));
  if (!mail) return asked.refuse(refusal_of(mail.error()));
  if (request.send == SendNow::yes) command.message = core::NewMessage{message, std::move(*mail)};
  asked.submit<core::ChallengeAnswer>(std::move(command), challenge_answer);
}

void post_challenge(Services& services, const HttpRequest& request, const Asked& asked) {
  auto parsed = parse_create(request.body, asked.config(), asked.app());
  if (refused(parsed, asked)) return;
  create(services, std::move(*parsed), core::CreateChallenge::Reuse::never, actor_of(request), asked);
}

void post_generate(Services& services, const HttpRequest& request, const Asked& asked) {
  auto parsed = parse_generate(request.body, asked.config(), asked.app());
  if (refused(parsed, asked)) return;
  const core::PurposeConfig& purpose = asked.config().purposes.at(parsed->purpose);
  CreateRequest full;
  full.recipient = std::move(parsed->recipient);
  full.purpose = std::move(parsed->purpose);
  full.locale = asked.config().mail.locale;
  full.template_name = purpose.template_name;
  full.terms = terms_of(purpose);
  full.client = std::move(parsed->client);
  create(services, std::move(full), core::CreateChallenge::Reuse::open_one, actor_of(request), asked);
}

void check(core::CheckCode command, const HttpRequest& request, int max_attempts, const Asked& asked) {
  command.at = wall_now();
  command.app = asked.app().name;
  command.actor = actor_of(request);
  asked.submit<core::CheckAnswer>(std::move(command), [max_attempts](const core::CheckAnswer& answer) {
    return ok_json(check_json(answer, max_attempts));
  });
}

// The id in the path, or a 404 that does not tell "never was" from "is another app's".
std::optional<core::Id> path_id(const std::string& text, const Asked& asked) {
  const auto id = core::parse_id(text);
  if (id) return *id;
  asked.refuse(problem(Problem::not_found, "there is none of this id", asked.request_id()));
  return std::nullopt;
}

void post_check(Services&, const HttpRequest& request, const std::string& id, const Asked& asked) {
  const auto challenge = path_id(id, asked);
  if (!challenge) return;
  auto parsed = parse_check(request.body);
  if (refused(parsed, asked)) return;
  asked.is_about(*challenge);
  core::CheckCode command;
  command.id = *challenge;
  command.typed = std::move(parsed->code);
  command.binding = std::move(parsed->binding);
  command.client_id = std::move(parsed->client_id);
  check(std::move(command), request, 1, asked);
}

void post_verify(Services&, const HttpRequest& request, const Asked& asked) {
  auto parsed = parse_verify(request.body, asked.config(), asked.app());
  if (refused(parsed, asked)) return;
  asked.is_about(parsed->recipient, parsed->purpose);
  core::CheckCode command;
  command.recipient = std::move(parsed->recipient);
  command.purpose = std::move(parsed->purpose);
  command.typed = std::move(parsed->code);
  command.client_id = std::move(parsed->client_id);
  const int max_attempts = asked.config().purposes.at(command.purpose).max_attempts;
  check(std::move(command), request, max_attempts, asked);
}

void post_send(Services& services, const HttpRequest& request, const std::string& id, const Asked& asked) {
  const auto challenge = path_id(id, asked);
  if (!challenge || refused(parse_nothing(request.body), asked)) return;
  asked.is_about(*challenge);
  core::SendChallenge command;
  command.at = wall_now();
  command.app = asked.app().name;
  command.id = *challenge;
  command.message = services.ids.next(command.at);
  command.actor = actor_of(request);
  asked.submit<core::ChallengeAnswer>(std::move(command), challenge_answer);
}

void post_cancel(Services&, const HttpRequest& request, const std::string& id, const Asked& asked) {
  const auto challenge = path_id(id, asked);
  if (!challenge || refused(parse_nothing(request.body), asked)) return;
  core::CancelChallenge command;
  command.at = wall_now();
  command.app = asked.app().name;
  command.id = *challenge;
  command.actor = actor_of(request);
  asked.submit<core::ChallengeAnswer>(std::move(command), challenge_answer);
}

HttpResponse message_answer(const core::MessageAnswer& answer) {
  HttpResponse response = ok_json(message_json(answer.message), 201);
  response.headers.emplace_back("Location", "/v1/messages/" + core::to_string(answer.message.id));
  return response;
}

void post_message(Services& services, const HttpRequest& request, const Asked& asked) {
  core::CreateMessage command;
  command.at = wall_now();
  auto parsed = parse_message(request.body, asked.config(), command.at);
  if (refused(parsed, asked)) return;
  asked.is_about(parsed->recipient, {});
  command.id = services.ids.next(command.at);
  command.app = asked.app().name;
  core::ComposeRequest compose;
  compose.app = command.app;
  compose.template_name = parsed->template_name;
  compose.locale = std::move(parsed->locale);
  compose.recipient = parsed->recipient;
  compose.message = command.id;
  compose.at = command.at;
  compose.variables = std::move(parsed->variables);
  auto mail = asked.composer().compose(compose);
  if (!mail) return asked.refuse(refusal_of(mail.error()));
  command.recipient = std::move(parsed->recipient);
  command.template_name = std::move(parsed->template_name);
  command.not_after = parsed->not_after;
  command.metadata = std::move(parsed->metadata);
  command.mail = std::move(*mail);
  command.actor = actor_of(request);
  asked.submit<core::MessageAnswer>(std::move(command), message_answer);
}

}  // namespace

void add_apps_api(Router& router, Services& services) {
  using Call = void (*)(Services&, const HttpRequest&, const Asked&);
  using CallOfOne = void (*)(Services&, const HttpRequest&, const std::string&, const Asked&);
  const auto post = [&](std::string_view path, Call call) {
    router.on("POST", path,
              [&services, call](const HttpRequest& request, const std::string&, Responder responder) {
                if (const auto asked = Asked::take(services, request, std::move(responder)))
                  call(services, request, *asked);
              });
  };
  const auto post_one = [&](std::string_view path, CallOfOne call) {
    router.on("POST", path,
              [&services, call](const HttpRequest& request, const std::string& id, Responder responder) {
                if (const auto asked = Asked::take(services, request, std::move(responder)))
                  call(services, request, id, *asked);
              });
  };
  post("/v1/challenges", post_challenge);
  post("/v1/otp/generate", post_generate);
  post("/v1/otp/verify", post_verify);
  post("/v1/messages", post_message);
  post_one("/v1/challenges/{id}/check", post_check);
  post_one("/v1/challenges/{id}/send", post_send);
  post_one("/v1/challenges/{id}/cancel", post_cancel);
}

}  // namespace mailotp::daemon
