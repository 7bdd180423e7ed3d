#include "mail/compose/json_fields.h"

#include <cstring>

#include <nlohmann/json.hpp>

namespace mailotp::mail {

core::Result<std::vector<JsonField>> parse_json_fields(std::string_view json) {
  std::vector<JsonField> fields;
  if (json.empty()) return fields;
  auto object = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return core::fail(core::Errc::malformed, "not a JSON object");
  for (auto& [name, value] : object.items()) {
    if (value.is_null()) continue;
    JsonField field{name, value.is_string(), {}};
    if (field.is_string) {
      auto& text = value.get_ref<std::string&>();
      field.value = core::Secret(text);
      ::explicit_bzero(text.data(), text.size());
    }
    fields.push_back(std::move(field));
  }
  return fields;
}

}  // namespace mailotp::mail
