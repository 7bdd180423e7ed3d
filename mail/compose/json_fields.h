// The app's `data` and a challenge's binding, as they are kept: JSON objects of strings.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/secret.h"

namespace mailotp::mail {

struct JsonField {
  std::string name;
  bool is_string = false;  // otherwise `value` is empty
  core::Secret value;
};

// The members of a JSON object, but for those that are null; "" is {}. Errc::malformed if it is no object.
[[nodiscard]] core::Result<std::vector<JsonField>> parse_json_fields(std::string_view json);

}  // namespace mailotp::mail
