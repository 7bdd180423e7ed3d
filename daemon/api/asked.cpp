#include "daemon/api/asked.h"

#include <algorithm>

#include "daemon/api/answers.h"
#include "daemon/api/apps.h"
#include "daemon/api/refusal_notes.h"
#include "daemon/state/clock.h"

namespace mailotp::daemon {

namespace {

constexpr std::string_view k_header = "idempotency-key";
constexpr std::size_t k_max_key = 255;

bool is_key(std::string_view text) {
  return !text.empty() && text.size() <= k_max_key &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
}

HttpResponse bad_key(const std::string& request_id) {
  ProblemDetail refused;
  refused.problem = Problem::invalid_field;
  refused.field = "Idempotency-Key";
  refused.detail = "Idempotency-Key: must be given once, as 1 to 255 visible ASCII characters";
  return make_problem(refused, request_id);
}

// Method, target and body: two requests that differ in one of them are two. A path holds no line break.
core::Secret request_text(const HttpRequest& request) {
  std::string text;
  text.reserve(request.method.size() + request.path.size() + request.raw_query.size() + request.body.size() +
               3);
  text += request.method;
  text += ' ';
  text += request.path;
  text += '?';
  text += request.raw_query;
  text += '\n';
  text += request.body;
  return core::Secret(std::move(text));
}

core::KeptAnswer keep(HttpResponse response) {
  core::KeptAnswer kept;
  kept.status = response.status;
  kept.body = core::Secret(std::move(response.body));
  const auto location =
      std::ranges::find(response.headers, "Location", &std::pair<std::string, std::string>::first);
  if (location != response.headers.end()) kept.location = std::move(location->second);
  return kept;
}

HttpResponse kept_answer(const core::KeptAnswer& kept) {
  HttpResponse response = ok_json(std::string(kept.body.reveal()), kept.status);
  if (!kept.location.empty()) response.headers.emplace_back("Location", kept.location);
  return response;
}

// Why somebody got no mail, or could not use his code; all else is a mistake of the app.
bool tells_of_delivery(core::RefusalKind kind) {
  switch (kind) {
    case core::RefusalKind::resend_cooldown:
    case core::RefusalKind::sends_exhausted:
    case core::RefusalKind::template_unknown:
    case core::RefusalKind::template_failed:
    case core::RefusalKind::rate_limited:
    case core::RefusalKind::overloaded:
    case core::RefusalKind::recipient_suppressed:
      return true;
    case core::RefusalKind::not_found:
    case core::RefusalKind::challenge_closed:
    case core::RefusalKind::message_closed:
    case core::RefusalKind::idempotency_mismatch:
    case core::RefusalKind::keys_missing:
      return false;
  }
  return false;
}

}  // namespace

std::optional<Asked> Asked::take(Services& services, const HttpRequest& request, Responder responder) {
  const auto app = services.apps.find(request);
  if (!app) {
    responder.respond(make_problem(app.error(), request.request_id));
    return std::nullopt;
  }
  auto state = std::make_shared<State>(
      State{services, std::move(responder), request.request_id, services.in_force.hold(), **app, {}, {}, {}});
  state->about.app = (*app)->name;
  state->about.actor = {core::ActorKind::app, request.peer.uid};
  const auto keys =
      std::ranges::count(request.headers, k_header, &std::pair<std::string, std::string>::first);
  if (keys > 0) {
    const std::string_view key = request.header(k_header);
    if (keys > 1 || !is_key(key)) {
      state->responder.respond(bad_key(request.request_id));
      return std::nullopt;
    }
    state->key = key;
    state->request = request_text(request);
  }
  return Asked(std::move(state));
}

core::Once Asked::once(std::function<HttpResponse(const core::Answer&)> answered) const {
  core::Once once;
  once.key = *state_->key;
  once.request = state_->request.clone();
  once.keep = [answered = std::move(answered)](const core::Answer& answer) { return keep(answered(answer)); };
  return once;
}

void Asked::send(core::Command command, StoreThread::Completion done) const {
  if (!state_->services.store.submit(std::move(command), std::move(done)))
    respond(problem(Problem::overloaded, "more requests wait than can be taken", request_id()));
}

bool Asked::answer_common(const core::Outcome& outcome) const {
  if (!outcome) {
    respond(error_answer(outcome.error(), request_id()));
    return true;
  }
  if (const auto* refusal = std::get_if<core::Refusal>(&*outcome)) {
    note(*refusal);
    respond(refusal_answer(*refusal, request_id()));
    return true;
  }
  if (const auto* kept = std::get_if<core::KeptAnswer>(&*outcome)) {
    respond(kept_answer(*kept));
    return true;
  }
  return false;
}

void Asked::answer_bug() const {
  respond(problem(Problem::internal, "no answer of the store", request_id()));
}

void Asked::is_about(const core::Address& recipient, const std::string& purpose) const {
  state_->about.recipient = recipient;
  state_->about.purpose = purpose;
}

void Asked::is_about(const core::Id& challenge) const {
  state_->about.challenge = challenge;
}

void Asked::note(const core::Refusal& refusal) const {
  if (!tells_of_delivery(refusal.kind) || (!state_->about.challenge && !state_->about.recipient)) return;
  core::NoteRefusal noted = state_->about;
  noted.at = wall_now();
  noted.code = code_of(refusal.kind);
  noted.detail = detail_of(refusal);
  noted.limit = refusal.limit;
  state_->services.refusals.note(std::move(noted));
}

void Asked::refuse(const core::Refusal& refusal) const {
  refuse_with(refusal_answer(refusal, request_id()), refusal);
}

void Asked::refuse_with(HttpResponse response, std::optional<core::Refusal> noted) const {
  const auto tell = [asked = *this, response = std::move(response), noted = std::move(noted)] {
    if (noted) asked.note(*noted);
    asked.respond(response);
  };
  if (!state_->key) return tell();
  core::Recall recall{wall_now(), state_->app.name, once({})};
  send(std::move(recall), [asked = *this, tell](const core::Outcome& outcome) {
    const auto* refused = outcome ? std::get_if<core::Refusal>(&*outcome) : nullptr;
    if (refused != nullptr && refused->kind == core::RefusalKind::not_found) return tell();
    if (!asked.answer_common(outcome)) asked.answer_bug();
  });
}

}  // namespace mailotp::daemon
