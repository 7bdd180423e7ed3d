// JSON as the API takes it: UTF-8, no duplicate keys, at most 16 levels (the outermost object is the first),
// one value.
#pragma once

#include <string_view>

#include <nlohmann/json.hpp>

#include "core/result.h"

namespace mailotp::daemon {

// Errors name a byte position or a key's depth, never a value: a body may hold a code.
[[nodiscard]] core::Result<nlohmann::json> parse_strict(std::string_view text);

}  // namespace mailotp::daemon
