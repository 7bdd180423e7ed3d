// The contract (docs/openapi.yaml) as JSON, made into the program by scripts/openapi-json at build time.
#pragma once

#include <string_view>

namespace mailotp::daemon {

extern const std::string_view k_openapi_json;

}  // namespace mailotp::daemon
