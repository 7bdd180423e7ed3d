// Errors as RFC 9457 problem details. The codes and their statuses are part of the contract with users.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/store.h"
#include "daemon/http/message.h"

namespace mailotp::daemon {

enum class Problem : std::uint8_t {
  malformed_request,
  invalid_field,
  invalid_recipient,
  app_unknown,
  purpose_not_allowed,
  cross_site,
  not_found,
  method_not_allowed,
  too_large,
  headers_too_large,
  idempotency_mismatch,
  challenge_closed,
  message_closed,
  template_unknown,
  template_failed,
  recipient_suppressed,
  configuration_invalid,
  rate_limited,
  resend_cooldown,
  sends_exhausted,
  too_many_waits,
  overloaded,
  storage_unavailable,
  shutting_down,
  internal,  // a bug of ours: a request that nobody answered
};
inline constexpr int k_problems = 25;

[[nodiscard]] int status_of(Problem problem);
[[nodiscard]] std::string_view to_string(Problem problem);  // the `code`: "malformed_request"
[[nodiscard]] std::string_view reason_phrase(int status);   // "Bad Request"; "" for one that we never send

struct ProblemDetail {
  Problem problem = Problem::internal;
  std::string detail;                                    // for people; no secret
  std::string field;                                     // dotted path; left out when empty
  std::optional<std::chrono::milliseconds> retry_after;  // 429 and 503 only; 1 s when it is not given
  std::optional<core::Limit> limit;                      // on every 429
  std::vector<std::pair<std::string, std::string>> extra_headers;  // "Allow"
  // More members of the top level; nullopt is null.
  std::vector<std::pair<std::string, std::optional<std::string>>> extra_members;
};

// application/problem+json. Retry-After is in whole seconds, rounded up, at least 1, and the same in the
// body. Bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] HttpResponse make_problem(const ProblemDetail& problem, const std::string& request_id);

}  // namespace mailotp::daemon
