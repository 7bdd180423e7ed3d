#include "daemon/http/problem.h"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "core/check.h"
#include "core/time.h"

namespace mailotp::daemon {
namespace {

struct Entry {
  Problem problem;
  int status;
  std::string_view code;
  std::string_view title;
};

constexpr std::array<Entry, k_problems> k_table{{
    {Problem::malformed_request, 400, "malformed_request", "The request cannot be read"},
    {Problem::invalid_field, 400, "invalid_field", "A field has a value that is not allowed"},
    {Problem::invalid_recipient, 400, "invalid_recipient", "The recipient is no mail address"},
    {Problem::app_unknown, 403, "app_unknown", "No app is configured for the calling process"},
    {Problem::purpose_not_allowed, 403, "purpose_not_allowed", "This app may not use the purpose"},
    {Problem::cross_site, 403, "cross_site", "Requests from other web sites are refused"},
    {Problem::not_found, 404, "not_found", "There is no such thing"},
    {Problem::method_not_allowed, 405, "method_not_allowed", "The method is not allowed here"},
    {Problem::too_large, 413, "too_large", "The body is too large"},
    {Problem::headers_too_large, 431, "headers_too_large", "The header is too large"},
    {Problem::idempotency_mismatch, 409, "idempotency_mismatch", "The key was used with another request"},
    {Problem::challenge_closed, 409, "challenge_closed", "The challenge has ended"},
    {Problem::message_closed, 409, "message_closed", "The message has ended"},
    {Problem::template_unknown, 422, "template_unknown", "There is no such template"},
    {Problem::template_failed, 422, "template_failed", "The template cannot be rendered"},
    {Problem::recipient_suppressed, 422, "recipient_suppressed", "No mail goes to this recipient at present"},
    {Problem::configuration_invalid, 422, "configuration_invalid", "The configuration cannot be used"},
    {Problem::rate_limited, 429, "rate_limited", "A limit is reached"},
    {Problem::resend_cooldown, 429, "resend_cooldown", "It is too early for another mail"},
    {Problem::sends_exhausted, 429, "sends_exhausted", "No more mails are allowed"},
    {Problem::too_many_waits, 429, "too_many_waits", "Too many requests wait already"},
    {Problem::overloaded, 503, "overloaded", "There is too much to do at present"},
    {Problem::storage_unavailable, 503, "storage_unavailable", "The store cannot be written at present"},
    {Problem::shutting_down, 503, "shutting_down", "The daemon is stopping"},
    {Problem::internal, 500, "internal", "The daemon made a mistake"},
}};

constexpr bool table_is_in_order() {
  for (std::size_t i = 0; i < k_table.size(); ++i) {
    if (static_cast<std::size_t>(k_table[i].problem) != i) return false;
  }
  return true;
}
static_assert(table_is_in_order());

const Entry& entry_of(Problem problem) {
  const auto index = static_cast<std::size_t>(problem);
  CHECK(index < k_table.size());
  return k_table[index];
}

std::int64_t whole_seconds(std::optional<std::chrono::milliseconds> wait) {
  if (!wait) return 1;
  return std::max<std::int64_t>(1, std::chrono::ceil<std::chrono::seconds>(*wait).count());
}

}  // namespace

int status_of(Problem problem) {
  return entry_of(problem).status;
}

std::string_view to_string(Problem problem) {
  return entry_of(problem).code;
}

std::string_view reason_phrase(int status) {
  struct Phrase {
    int status;
    std::string_view text;
  };
  static constexpr std::array<Phrase, 16> k_phrases{{{100, "Continue"},
                                                     {200, "OK"},
                                                     {201, "Created"},
                                                     {202, "Accepted"},
                                                     {204, "No Content"},
                                                     {400, "Bad Request"},
                                                     {403, "Forbidden"},
                                                     {404, "Not Found"},
                                                     {405, "Method Not Allowed"},
                                                     {409, "Conflict"},
                                                     {413, "Content Too Large"},
                                                     {422, "Unprocessable Content"},
                                                     {429, "Too Many Requests"},
                                                     {431, "Request Header Fields Too Large"},
                                                     {500, "Internal Server Error"},
                                                     {503, "Service Unavailable"}}};
  for (const Phrase& phrase : k_phrases) {
    if (phrase.status == status) return phrase.text;
  }
  return {};
}

HttpResponse make_problem(const ProblemDetail& problem, const std::string& request_id) {
  const Entry& entry = entry_of(problem.problem);
  nlohmann::ordered_json body;
  body["type"] = std::string("urn:mailotpd:error:").append(entry.code);
  body["title"] = entry.title;
  body["status"] = entry.status;
  body["detail"] = problem.detail;
  body["code"] = entry.code;
  body["request_id"] = request_id;
  if (!problem.field.empty()) body["field"] = problem.field;

  HttpResponse response;
  response.status = entry.status;
  response.content_type = "application/problem+json";
  response.headers = problem.extra_headers;
  if (entry.status == 429 || entry.status == 503) {
    const std::int64_t seconds = whole_seconds(problem.retry_after);
    body["retry_after"] = seconds;
    response.headers.emplace_back("Retry-After", std::to_string(seconds));
  }
  if (problem.limit) {
    body["limit"] = {{"name", problem.limit->name},
                     {"max", problem.limit->max},
                     {"period_seconds", problem.limit->period.count()},
                     {"reset_at", core::format_rfc3339(problem.limit->reset_at)}};
  }
  for (const auto& [name, value] : problem.extra_members) {
    body[name] = value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
  }
  response.body = body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  return response;
}

}  // namespace mailotp::daemon
