#include "daemon/api/fields.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace mailotp::daemon {

using nlohmann::json;

tl::unexpected<ProblemDetail> refuse(Problem problem, std::string detail, std::string field) {
  ProblemDetail refused;
  refused.problem = problem;
  refused.detail = std::move(detail);
  refused.field = std::move(field);
  return tl::unexpected(std::move(refused));
}

tl::unexpected<ProblemDetail> bad_field(const std::string& field, const std::string& detail) {
  return refuse(Problem::invalid_field, field + ": " + detail, field);
}

Parsed<json> parse_object(std::string_view body, std::initializer_list<std::string_view> known) {
  auto parsed = parse_strict(body);
  if (!parsed) return refuse(Problem::malformed_request, parsed.error().what);
  if (!parsed->is_object()) return refuse(Problem::malformed_request, "the body must be a JSON object");
  for (const auto& [key, value] : parsed->items()) {
    if (std::ranges::find(known, key) == known.end()) return bad_field(key, "no such field");
  }
  return std::move(*parsed);
}

// A string of at most `max` bytes; absent or null: empty.
Parsed<std::string> text_of(const json& object, const char* name, std::size_t max,
                            const std::string& prefix) {
  const auto at = object.find(name);
  if (at == object.end() || at->is_null()) return std::string{};
  const std::string field = prefix + name;
  if (!at->is_string()) return bad_field(field, "must be a string");
  const auto& text = at->get_ref<const std::string&>();
  if (text.size() > max) return bad_field(field, fmt::format("must have at most {} bytes", max));
  return text;
}

}  // namespace mailotp::daemon
