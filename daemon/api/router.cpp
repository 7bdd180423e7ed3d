#include "daemon/api/router.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "daemon/api/answers.h"

namespace mailotp::daemon {

namespace {

std::vector<std::string> split(std::string_view path) {
  std::vector<std::string> segments;
  for (std::size_t start = 1; start <= path.size();) {
    const std::size_t end = std::min(path.find('/', start), path.size());
    segments.emplace_back(path.substr(start, end - start));
    start = end + 1;
  }
  return segments;
}

bool is_capture(std::string_view segment) {
  return segment.starts_with('{');
}

// The captured segment ("" when the pattern has none), or nothing when the path does not fit.
std::optional<std::string> match(const std::vector<std::string>& pattern,
                                 const std::vector<std::string>& path) {
  if (pattern.size() != path.size()) return std::nullopt;
  std::string captured;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (is_capture(pattern[i])) {
      if (path[i].empty()) return std::nullopt;
      captured = path[i];
    } else if (pattern[i] != path[i]) {
      return std::nullopt;
    }
  }
  return captured;
}

// A page in a browser that reached the socket through a proxy must not be able to act for its visitor.
bool is_cross_site(const HttpRequest& request) {
  if (request.header("sec-fetch-site") == "cross-site") return true;
  std::string_view origin = request.header("origin");
  if (origin.empty()) return false;
  const std::size_t scheme = origin.find("://");
  if (scheme != std::string_view::npos) origin.remove_prefix(scheme + 3);
  return origin != request.header("host");
}

}  // namespace

void Router::on(std::string_view method, std::string_view pattern, Handler handler) {
  routes_.push_back({std::string(method), split(pattern), std::move(handler)});
}

void Router::route(HttpRequest request, Responder responder) const {
  if (is_cross_site(request)) {
    responder.respond(
        problem(Problem::cross_site, "the request comes from another site's page", request.request_id));
    return;
  }
  const std::vector<std::string>& path = request.segments;
  const bool is_literal = std::ranges::find(routes_, path, &Route::segments) != routes_.end();
  std::string allowed;
  for (const Route& route : routes_) {
    if (is_literal && route.segments != path) continue;
    auto captured = match(route.segments, path);
    if (!captured) continue;
    if (route.method == request.method) {
      route.handler(std::move(request), std::move(*captured), std::move(responder));
      return;
    }
    allowed += (allowed.empty() ? "" : ", ") + route.method;
  }
  ProblemDetail refused;
  if (allowed.empty()) {
    refused.problem = Problem::not_found;
    refused.detail = "there is nothing at this path";
  } else {
    refused.problem = Problem::method_not_allowed;
    refused.detail = "this path takes " + allowed;
    refused.extra_headers.emplace_back("Allow", allowed);
  }
  responder.respond(make_problem(refused, request.request_id));
}

std::string query_value(const HttpRequest& request, std::string_view name) {
  const auto at = std::ranges::find(request.query, name, &std::pair<std::string, std::string>::first);
  return at == request.query.end() ? std::string{} : at->second;
}

}  // namespace mailotp::daemon
