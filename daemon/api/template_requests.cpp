#include "daemon/api/template_requests.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/api/fields.h"

namespace mailotp::daemon {

namespace {

using nlohmann::json;

constexpr const char* k_common = "default";
constexpr const char* k_sample = "Sample";

Parsed<TemplateRequest> use_of(const json& object, const core::Config& config) {
  auto app = text_of(object, "app", 64);
  if (app) app = known_app(*app, config);
  if (!app) return tl::unexpected(app.error());
  auto purpose = text_of(object, "purpose", 64);
  if (!purpose) return tl::unexpected(purpose.error());
  if (purpose->empty()) *purpose = "login";
  if (!config.purposes.contains(*purpose))
    return bad_field("purpose", "no purpose of that name is configured");
  auto locale = locale_of(object, config);
  if (!locale) return tl::unexpected(locale.error());
  auto variables = strings_of(object, "data");
  if (!variables) return tl::unexpected(variables.error());
  auto binding = strings_of(object, "binding");
  if (!binding) return tl::unexpected(binding.error());
  return TemplateRequest{std::move(*app), std::move(*purpose), std::move(*locale), std::move(*variables),
                         std::move(*binding)};
}

json object_of(const core::Secret& text) {
  return text.empty() ? json::object() : json::parse(text.reveal());  // it has been checked
}

}  // namespace

Parsed<std::string> known_app(const std::string& name, const core::Config& config) {
  if (name.empty() || (config.apps.empty() && name == k_common)) return k_common;
  if (std::ranges::find(config.apps, name, &core::AppConfig::name) != config.apps.end()) return name;
  return bad_field("app", "no [[app]] of that name is configured");
}

Parsed<TemplateRequest> parse_preview(std::string_view body, const core::Config& config) {
  if (body.empty()) body = "{}";
  const auto object = parse_object(body, {"app", "purpose", "locale", "data", "binding"});
  if (!object) return tl::unexpected(object.error());
  return use_of(*object, config);
}

Parsed<TestSendRequest> parse_test_send(std::string_view body, const core::Config& config) {
  const auto object = parse_object(body, {"recipient", "app", "purpose", "locale", "data", "binding"});
  if (!object) return tl::unexpected(object.error());
  auto recipient = address_of(*object, "recipient");
  if (!recipient) return tl::unexpected(recipient.error());
  auto use = use_of(*object, config);
  if (!use) return tl::unexpected(use.error());
  if (!config.apps.empty() && use->app == k_common && !object->contains("app")) {
    if (config.apps.size() > 1) {
      std::string names;
      for (const core::AppConfig& app : config.apps)
        names += (names.empty() ? "" : ", ") + app.name;
      return bad_field("app", "is required where there are several; there are " + names);
    }
    use->app = config.apps.front().name;
  }
  return TestSendRequest{std::move(*recipient), std::move(*use)};
}

core::Secret with_samples(const core::Secret& given, const core::TemplateOutline& outline) {
  json data = object_of(given);
  for (const core::TemplateVariable& variable : outline.variables) {
    if (!variable.sample.empty() && !data.contains(variable.name)) data[variable.name] = variable.sample;
  }
  return core::Secret(data.dump());
}

core::Secret binding_with_samples(const core::Secret& given, const core::TemplateLocale& outline) {
  json binding = object_of(given);
  for (const core::BindingField& field : outline.binding) {
    if (field.required && !binding.contains(field.name)) binding[field.name] = k_sample;
  }
  return core::Secret(binding.dump());
}

core::Secret made_up_code(const core::CodeSpec& spec) {
  const std::string_view symbols = core::symbols(spec.alphabet);
  std::string code;
  for (int i = 1; i <= spec.length; ++i)
    code += symbols[static_cast<std::size_t>(i) % symbols.size()];
  return core::Secret(std::move(code));
}

}  // namespace mailotp::daemon
