#include "daemon/api/answers.h"

#include <utility>

#include <fmt/format.h>

namespace mailotp::daemon {

namespace {

Problem problem_of(core::RefusalKind kind) {
  switch (kind) {
    case core::RefusalKind::not_found:
      return Problem::not_found;
    case core::RefusalKind::challenge_closed:
      return Problem::challenge_closed;
    case core::RefusalKind::message_closed:
      return Problem::message_closed;
    case core::RefusalKind::resend_cooldown:
      return Problem::resend_cooldown;
    case core::RefusalKind::sends_exhausted:
      return Problem::sends_exhausted;
    case core::RefusalKind::template_unknown:
      return Problem::template_unknown;
    case core::RefusalKind::template_failed:
      return Problem::template_failed;
    case core::RefusalKind::rate_limited:
      return Problem::rate_limited;
    case core::RefusalKind::overloaded:
      return Problem::overloaded;
    case core::RefusalKind::idempotency_mismatch:
      return Problem::idempotency_mismatch;
    case core::RefusalKind::recipient_suppressed:
      return Problem::recipient_suppressed;
    case core::RefusalKind::keys_missing:
      return Problem::configuration_invalid;
  }
  return Problem::internal;
}

}  // namespace

std::string_view code_of(core::RefusalKind kind) {
  return to_string(problem_of(kind));
}

// What the store has not said more of.
std::string detail_of(const core::Refusal& refusal) {
  if (!refusal.detail.empty()) return refusal.detail;
  if (const auto& limit = refusal.limit)
    return fmt::format("{}: at most {} in {} seconds; the next one at {}", limit->name, limit->max,
                       limit->period.count(), core::format_rfc3339(limit->reset_at));
  switch (refusal.kind) {
    case core::RefusalKind::not_found:
      return "there is none of this id";
    case core::RefusalKind::challenge_closed:
      return "the challenge has ended; make another";
    case core::RefusalKind::message_closed:
      return "the message has ended";
    case core::RefusalKind::overloaded:
      return "more waits to be sent than may; come back";
    case core::RefusalKind::idempotency_mismatch:
      return "the Idempotency-Key belongs to another request";
    case core::RefusalKind::recipient_suppressed:
      return "the address is left alone: mails to it have bounced";
    case core::RefusalKind::keys_missing:
    case core::RefusalKind::resend_cooldown:
    case core::RefusalKind::sends_exhausted:
    case core::RefusalKind::template_unknown:
    case core::RefusalKind::template_failed:
    case core::RefusalKind::rate_limited:
      return {};
  }
  return {};
}

HttpResponse ok_json(std::string body, int status) {
  HttpResponse response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

HttpResponse problem(Problem kind, std::string detail, const std::string& request_id) {
  ProblemDetail described;
  described.problem = kind;
  described.detail = std::move(detail);
  return make_problem(described, request_id);
}

HttpResponse refusal_answer(const core::Refusal& refusal, const std::string& request_id) {
  ProblemDetail described;
  described.problem = problem_of(refusal.kind);
  described.detail = detail_of(refusal);
  described.field = refusal.field;
  described.retry_after = refusal.retry_after;
  described.limit = refusal.limit;
  if (const auto& suppression = refusal.suppression) {
    const auto time = [](const std::optional<core::WallTime>& at) {
      return at ? std::optional(core::format_rfc3339(*at)) : std::nullopt;
    };
    described.extra_members = {{"class", std::string(core::to_string(suppression->bounce_class))},
                               {"until", time(suppression->until)},
                               {"probe_at", time(suppression->probe_at)}};
  }
  return make_problem(described, request_id);
}

HttpResponse error_answer(const core::Error& error, const std::string& request_id) {
  if (error.code == core::Errc::not_found) return problem(Problem::not_found, error.what, request_id);
  // Of what a list takes only its cursor is checked where it is read.
  if (error.code == core::Errc::malformed) {
    ProblemDetail refused;
    refused.problem = Problem::invalid_field;
    refused.field = "cursor";
    refused.detail = "cursor: " + error.what;
    return make_problem(refused, request_id);
  }
  if (error.code == core::Errc::invalid) return problem(Problem::invalid_field, error.what, request_id);
  // What the system said is for the operator's log, not for an app.
  return problem(Problem::storage_unavailable, "the store cannot be used at the moment", request_id);
}

core::Refusal refusal_of(const core::ComposeError& error) {
  core::Refusal out;
  out.kind = error.fault == core::ComposeFault::template_unknown ? core::RefusalKind::template_unknown
                                                                 : core::RefusalKind::template_failed;
  out.detail = error.detail;
  out.field = error.field;
  return out;
}

}  // namespace mailotp::daemon
