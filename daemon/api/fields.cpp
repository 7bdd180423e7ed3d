#include "daemon/api/fields.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace mailotp::daemon {

using nlohmann::json;

namespace {

constexpr std::size_t k_max_fields = 32;  // of data and binding
constexpr std::size_t k_max_text = 1024;  // of one value in data and binding

bool is_field_name(const std::string& name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, plain);
}

bool is_locale(std::string_view text) {
  return text.size() <= 35 && std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
         });
}

}  // namespace

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

Parsed<core::Address> address_of(const json& object, const char* name) {
  const auto at = object.find(name);
  if (at == object.end()) return bad_field(name, "is required");
  if (!at->is_string()) return bad_field(name, "must be a string");
  auto address = core::parse_address(at->get_ref<const std::string&>());
  if (!address) return refuse(Problem::invalid_recipient, address.error().what, name);
  return std::move(*address);
}

Parsed<core::Secret> strings_of(const json& object, const char* name) {
  const auto at = object.find(name);
  if (at == object.end() || at->is_null()) return core::Secret{};
  if (!at->is_object()) return bad_field(name, "must be an object");
  if (at->size() > k_max_fields)
    return bad_field(name, fmt::format("must have at most {} fields", k_max_fields));
  for (const auto& [key, value] : at->items()) {
    if (!is_field_name(key))
      return bad_field(name, "a field's name consists of 1 to 64 letters, digits, _ and -");
    const std::string field = std::string(name) + "." + key;
    if (!value.is_string()) return bad_field(field, "must be a string");
    if (value.get_ref<const std::string&>().size() > k_max_text)
      return bad_field(field, fmt::format("must have at most {} bytes", k_max_text));
  }
  return core::Secret(at->empty() ? std::string{} : at->dump());
}

Parsed<std::string> locale_of(const json& object, const core::Config& config) {
  auto locale = text_of(object, "locale", 35);
  if (!locale) return locale;
  if (!is_locale(*locale)) return bad_field("locale", "must be a language tag such as de-AT");
  if (locale->empty()) return config.mail.locale;
  return locale;
}

}  // namespace mailotp::daemon
