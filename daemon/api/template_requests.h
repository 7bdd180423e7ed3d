// What a preview or a test of a template says. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/address.h"
#include "core/composer.h"
#include "core/config.h"
#include "core/secret.h"
#include "daemon/api/parsed.h"

namespace mailotp::daemon {

struct TemplateRequest {
  std::string app;  // one of the configuration, or "default": the common sender and templates
  std::string purpose;
  std::string locale;
  core::Secret variables;  // JSON object text, or empty
  core::Secret binding;    // JSON object text, or empty
};

struct TestSendRequest {
  core::Address recipient;
  TemplateRequest use;
};

[[nodiscard]] Parsed<TemplateRequest> parse_preview(std::string_view body, const core::Config& config);
// Where there are several apps, it must say whose mail it is.
[[nodiscard]] Parsed<TestSendRequest> parse_test_send(std::string_view body, const core::Config& config);

// An app of the configuration by name; "" is "default".
[[nodiscard]] Parsed<std::string> known_app(const std::string& name, const core::Config& config);

// `given` with the samples of what it leaves out: a variable that may be absent is left out with "". Of the
// binding only what must be there gets one.
[[nodiscard]] core::Secret with_samples(const core::Secret& given, const core::TemplateOutline& outline);
[[nodiscard]] core::Secret binding_with_samples(const core::Secret& given,
                                                const core::TemplateLocale& outline);

// Of the shape of a code, and always the same: it belongs to no challenge.
[[nodiscard]] core::Secret made_up_code(const core::CodeSpec& spec);

}  // namespace mailotp::daemon
