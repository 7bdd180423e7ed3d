// The port through which a mail is made: implemented by mail/compose, called before a first send is queued
// and, for a resend, inside the store's transaction. Pure: no clock, no randomness, no I/O; the same request
// gives the same bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "core/id.h"
#include "core/outbox.h"
#include "core/result.h"
#include "core/secret.h"
#include "core/time.h"

namespace mailotp::core {

struct ComposeRequest {
  std::string app;            // whose templates and sender
  std::string template_name;  // "otp"
  std::string locale;         // "de-AT"; falls back: de, the default
  Address recipient;
  Id message;        // Message-ID and boundary derive from it
  Id challenge;      // nil for a mail without a code
  WallTime at;       // Date
  Millis life{0};    // until the code ends, for "valid for N minutes"
  Secret code;       // empty for a mail without a code
  Secret variables;  // JSON object: the app's `data`; "" is {}
  Secret binding;    // JSON object of the binding that the template may show; "" is {}
  std::string purpose;
};

struct ComposedMail {
  Secret content;                // RFC 5322 bytes: CRLF only, exactly one Date, From, To, Message-ID
  std::string message_id;        // with angle brackets
  std::string template_version;  // hash of the sources that made it: 16 hex digits
  std::string locale;            // the one that was used
  OnUncertain on_uncertain = OnUncertain::resend;  // what its template says
};

enum class ComposeFault { template_unknown, template_failed };
struct ComposeError {
  ComposeFault fault = ComposeFault::template_failed;
  std::string detail;  // names the variable or the template; never a value
  std::string field;   // dotted path in the request, as "data.name"; may be empty
};

// What an operator may know of a template: what can be filled in, and where it comes from.
struct TemplateVariable {
  std::string name;
  std::string kind;  // text | url
  bool required = false;
  std::string default_value;
  std::size_t max_length = 0;  // characters
  std::string sample;
};
enum class TemplateOrigin : std::uint8_t {
  installed,   // as it came with the program
  overridden,  // some of its files are the operator's
  own,         // the operator's alone
};
[[nodiscard]] std::string_view to_string(TemplateOrigin origin);
// A field of the binding that a template shows.
struct BindingField {
  std::string name;       // without "binding."
  bool required = false;  // shown always: a request must have it
};
struct TemplateLocale {
  std::string locale;
  std::string version;  // as ComposedMail::template_version
  TemplateOrigin origin = TemplateOrigin::installed;
  bool uses_code = false;
  std::vector<BindingField> binding;
};
struct TemplateOutline {
  std::string name;
  OnUncertain on_uncertain = OnUncertain::resend;
  std::vector<TemplateVariable> variables;
  std::vector<TemplateLocale> locales;
};

class Composer {
 public:
  virtual ~Composer() = default;
  [[nodiscard]] virtual tl::expected<ComposedMail, ComposeError> compose(
      const ComposeRequest& request) const = 0;
  // The templates that an app's mails are made from, by name.
  [[nodiscard]] virtual std::vector<TemplateOutline> outlines(std::string_view app) const = 0;
  // The one that compose() would take, with the one locale that it would take.
  [[nodiscard]] virtual std::optional<TemplateOutline> outline(std::string_view app, std::string_view name,
                                                               std::string_view locale) const = 0;
};

}  // namespace mailotp::core
