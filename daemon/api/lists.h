// What the GETs of lists and rows have in common. Loop thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "core/store.h"
#include "daemon/api/answers.h"
#include "daemon/api/parsed.h"
#include "daemon/api/router.h"
#include "daemon/api/services.h"
#include "daemon/http/server.h"

namespace mailotp::daemon {

// Reads with `work` on the reader's thread and answers with what `show` makes of it.
template <class R>
void read_and_answer(Services& services, const std::string& request_id, Responder responder,
                     std::function<core::Result<R>(core::StoreReader&)> work,
                     std::function<std::string(const R&)> show) {
  auto held = std::make_shared<Responder>(std::move(responder));  // std::function wants copies
  const bool asked = services.reader.read<R>(
      std::move(work), [held, request_id, show = std::move(show)](core::Result<R> result) {
        held->respond(result ? ok_json(show(*result)) : error_answer(result.error(), request_id));
      });
  if (!asked) held->respond(problem(Problem::overloaded, "too many requests wait to be read", request_id));
}

[[nodiscard]] tl::unexpected<ProblemDetail> bad_parameter(const std::string& name, const std::string& why);

// ?limit= and ?cursor=.
[[nodiscard]] Parsed<core::Page> page_of(const HttpRequest& request);
// An address in the query, in any spelling; "" when absent.
[[nodiscard]] Parsed<std::string> query_address(const HttpRequest& request, const std::string& name);

}  // namespace mailotp::daemon
