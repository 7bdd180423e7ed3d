// What a template may show: the fields that every mail has (built in), the binding's, and the app's own data
// as template.toml declares it. Pure.
//
//   recipient      the address
//   purpose        "login", as the request says it
//   purpose.NAME   a switch, for sections only: {{#purpose.login}}…{{/purpose.login}}
//   app            the sender's display name, or the app's name where it has none
//   domain         the app's domain; may be absent
//   code           the one-time code                            } only in
//   minutes        life of the code, rounded down, at least 1   } mails
//   minutes.one    a switch: it is one minute                   } that
//   hours          whole hours, from two hours on; else absent  } carry
//   expires_at     "12:10 UTC"                                  } a code
//   binding.NAME   a field of the challenge's binding; may be absent
//
// An empty value counts as absent. What may be absent must stand in a section of its own name, or is demanded
// of each request (binding.NAME).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailotp::mail {

enum class ValueKind : std::uint8_t { text, url };

// One [variables.NAME] of template.toml.
struct Variable {
  std::string name;
  bool required = false;
  std::string default_value;    // empty: none
  std::size_t max_length = 64;  // characters
  ValueKind kind = ValueKind::text;
  std::string sample;
};

// Fields of the binding are text, of at most this many characters.
inline constexpr std::size_t k_binding_length = 140;

// Why `value` may not be put into a mail, or nothing: "is longer than 64 characters". Text: no line break,
// control, direction override or "://", so that nobody mails his advertisement through us. A URL: http or
// https, printable ASCII. Never repeats the value.
[[nodiscard]] std::optional<std::string> refuse_value(ValueKind kind, std::size_t max_length,
                                                      std::string_view value);

enum class Presence : std::uint8_t {
  always,
  with_code,   // in every mail that carries a code
  sometimes,   // only inside a section of its own name
  on_request,  // binding.NAME: outside a section, the request must have it
  flag,        // a switch: only as a section
};
// Of a built-in name; nothing for any other.
[[nodiscard]] std::optional<Presence> builtin_presence(std::string_view name);

// The values of one mail. Views: what they point to outlives the object.
struct Values {
  std::string_view recipient;
  std::string_view purpose;
  std::string_view app;
  std::string_view domain;
  std::string_view code;
  std::string_view minutes;
  std::string_view hours;
  std::string_view expires_at;
  using Named = std::pair<std::string_view, std::string_view>;
  std::vector<Named> binding;  // without "binding."
  std::vector<Named> variables;

  // Empty: absent. A switch that is on is "1".
  [[nodiscard]] std::string_view find(std::string_view name) const;
};

}  // namespace mailotp::mail
