// From store results to HTTP answers.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"
#include "core/store.h"
#include "daemon/http/message.h"
#include "daemon/http/problem.h"

namespace mailotp::daemon {

[[nodiscard]] HttpResponse ok_json(std::string body, int status = 200);
[[nodiscard]] HttpResponse problem(Problem kind, std::string detail, const std::string& request_id);
// The `code` and the `detail` that a refusal is answered with.
[[nodiscard]] std::string_view code_of(core::RefusalKind kind);
[[nodiscard]] std::string detail_of(const core::Refusal& refusal);
[[nodiscard]] HttpResponse refusal_answer(const core::Refusal& refusal, const std::string& request_id);
// Errc::not_found: 404; Errc::invalid: 400; all else is the store's trouble: 503.
[[nodiscard]] HttpResponse error_answer(const core::Error& error, const std::string& request_id);
[[nodiscard]] core::Refusal refusal_of(const core::ComposeError& error);

}  // namespace mailotp::daemon
