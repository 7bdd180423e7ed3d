#include "daemon/api/lists.h"

#include <charconv>

namespace mailotp::daemon {

tl::unexpected<ProblemDetail> bad_parameter(const std::string& name, const std::string& why) {
  ProblemDetail refused;
  refused.problem = Problem::invalid_field;
  refused.field = name;
  refused.detail = name + ": " + why;
  return tl::unexpected(std::move(refused));
}

Parsed<core::Page> page_of(const HttpRequest& request) {
  core::Page page;
  page.cursor = query_value(request, "cursor");
  const std::string limit = query_value(request, "limit");
  if (limit.empty()) return page;
  const auto [end, error] = std::from_chars(limit.data(), limit.data() + limit.size(), page.limit);
  if (error != std::errc{} || end != limit.data() + limit.size() || page.limit < 1 || page.limit > 500)
    return bad_parameter("limit", "must be 1 to 500");
  return page;
}

Parsed<std::string> query_address(const HttpRequest& request, const std::string& name) {
  std::string text = query_value(request, name);
  if (text.empty()) return text;
  if (const auto address = core::parse_address(text); !address)
    return bad_parameter(name, address.error().what);
  return text;
}

}  // namespace mailotp::daemon
