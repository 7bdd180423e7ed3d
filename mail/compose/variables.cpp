#include "mail/compose/variables.h"

#include <algorithm>
#include <array>

#include "mail/compose/utf8.h"

namespace mailotp::mail {

namespace {

constexpr std::string_view k_purpose_flag = "purpose.";
constexpr std::string_view k_binding_field = "binding.";

struct Builtin {
  std::string_view name;
  Presence presence;
  std::string_view Values::*value;
};
constexpr std::array k_builtins{
    Builtin{"recipient", Presence::always, &Values::recipient},
    Builtin{"purpose", Presence::with_code, &Values::purpose},
    Builtin{"app", Presence::always, &Values::app},
    Builtin{"domain", Presence::sometimes, &Values::domain},
    Builtin{"code", Presence::with_code, &Values::code},
    Builtin{"minutes", Presence::with_code, &Values::minutes},
    Builtin{"hours", Presence::sometimes, &Values::hours},
    Builtin{"expires_at", Presence::with_code, &Values::expires_at},
};

bool is_line_break(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

// C0, DEL, C1, and what turns the direction of the text around it: with those a name could make our own
// sentences read differently.
bool is_control(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c <= 0x9F) || (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

std::optional<std::string> refuse_text(std::string_view value) {
  for (std::size_t pos = 0; pos < value.size();) {
    const char32_t c = next_code_point(value, pos);
    if (c == k_bad_utf8) return "is not UTF-8";
    if (is_line_break(c)) return "holds a line break";
    if (is_control(c)) return "holds a control character";
  }
  if (value.find("://") != std::string_view::npos) return "holds ://, which only a url may";
  return std::nullopt;
}

std::optional<std::string> refuse_url(std::string_view value) {
  std::string_view rest = value;
  if (rest.starts_with("https://"))
    rest.remove_prefix(8);
  else if (rest.starts_with("http://"))
    rest.remove_prefix(7);
  else
    return "is not a http or https URL";
  if (rest.empty() || rest.front() == '/') return "is a URL without a host";
  const bool clean = std::all_of(value.begin(), value.end(), [](char c) {
    return c > ' ' && c <= '~' && std::string_view("\"<>\\^`{|}").find(c) == std::string_view::npos;
  });
  if (!clean) return "holds a character that must be percent-encoded in a URL";
  return std::nullopt;
}

std::string_view find_named(const std::vector<Values::Named>& values, std::string_view name) {
  const auto found =
      std::find_if(values.begin(), values.end(), [name](const auto& value) { return value.first == name; });
  return found == values.end() ? std::string_view() : found->second;
}

}  // namespace

std::optional<std::string> refuse_value(ValueKind kind, std::size_t max_length, std::string_view value) {
  auto refused = kind == ValueKind::text ? refuse_text(value) : refuse_url(value);
  if (!refused && count_characters(value) > max_length)
    refused = "is longer than " + std::to_string(max_length) + " characters";
  return refused;
}

std::optional<Presence> builtin_presence(std::string_view name) {
  if (name == "minutes.one" || name.starts_with(k_purpose_flag)) return Presence::flag;
  if (name.starts_with(k_binding_field)) return Presence::on_request;
  const auto builtin =
      std::find_if(k_builtins.begin(), k_builtins.end(), [name](const Builtin& b) { return b.name == name; });
  if (builtin == k_builtins.end()) return std::nullopt;
  return builtin->presence;
}

std::string_view Values::find(std::string_view name) const {
  if (name.find('.') == std::string_view::npos) {
    const auto builtin = std::find_if(k_builtins.begin(), k_builtins.end(),
                                      [name](const Builtin& b) { return b.name == name; });
    return builtin == k_builtins.end() ? find_named(variables, name) : this->*builtin->value;
  }
  if (name == "minutes.one") return minutes == "1" ? "1" : "";
  if (name.starts_with(k_purpose_flag)) return name.substr(k_purpose_flag.size()) == purpose ? "1" : "";
  if (name.starts_with(k_binding_field)) return find_named(binding, name.substr(k_binding_field.size()));
  return {};
}

}  // namespace mailotp::mail
