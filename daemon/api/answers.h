// From store results to HTTP answers.
#pragma once

#include <string>

#include "core/result.h"
#include "core/store.h"
#include "daemon/http/message.h"
#include "daemon/http/problem.h"

namespace mailotp::daemon {

[[nodiscard]] HttpResponse ok_json(std::string body, int status = 200);
[[nodiscard]] HttpResponse problem(Problem kind, std::string detail, const std::string& request_id);
[[nodiscard]] HttpResponse refusal_answer(const core::Refusal& refusal, const std::string& request_id);
// Errc::not_found: 404; Errc::invalid: 400; all else is the store's trouble: 503.
[[nodiscard]] HttpResponse error_answer(const core::Error& error, const std::string& request_id);
[[nodiscard]] HttpResponse compose_error_answer(const core::ComposeError& error,
                                                const std::string& request_id);

}  // namespace mailotp::daemon
