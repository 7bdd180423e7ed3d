#include "daemon/api/template_views.h"

#include <nlohmann/json.hpp>

namespace mailotp::daemon {

namespace {

using nlohmann::ordered_json;

// Template files are UTF-8, as they were loaded; what is not would be replaced, never a failure.
std::string dump(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

ordered_json variable_value(const core::TemplateVariable& variable) {
  return {{"name", variable.name},
          {"kind", variable.kind},
          {"required", variable.required},
          {"default", variable.default_value},
          {"max_length", variable.max_length},
          {"sample", variable.sample}};
}

ordered_json locale_value(const core::TemplateLocale& locale) {
  ordered_json binding = ordered_json::array();
  for (const core::BindingField& field : locale.binding)
    binding.push_back({{"name", field.name}, {"required", field.required}});
  return {{"locale", locale.locale},
          {"version", locale.version},
          {"origin", core::to_string(locale.origin)},
          {"code", locale.uses_code},
          {"binding", std::move(binding)}};
}

ordered_json outline_value(const core::TemplateOutline& outline) {
  ordered_json variables = ordered_json::array();
  for (const core::TemplateVariable& variable : outline.variables)
    variables.push_back(variable_value(variable));
  ordered_json locales = ordered_json::array();
  for (const core::TemplateLocale& locale : outline.locales)
    locales.push_back(locale_value(locale));
  return {{"name", outline.name},
          {"uncertain", outline.on_uncertain == core::OnUncertain::hold ? "hold" : "resend"},
          {"variables", std::move(variables)},
          {"locales", std::move(locales)}};
}

}  // namespace

std::string templates_json(const std::vector<core::TemplateOutline>& outlines) {
  ordered_json items = ordered_json::array();
  for (const core::TemplateOutline& outline : outlines)
    items.push_back(outline_value(outline));
  return dump({{"items", std::move(items)}, {"next_cursor", nullptr}});
}

std::string preview_json(const core::TemplateOutline& outline, const CapturedMail& mail) {
  const core::TemplateLocale& locale = outline.locales.front();
  return dump({{"template", outline.name},
               {"locale", locale.locale},
               {"version", locale.version},
               {"subject", mail.subject},
               {"text", mail.text},
               {"html", mail.html}});
}

}  // namespace mailotp::daemon
