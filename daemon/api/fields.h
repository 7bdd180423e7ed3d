// The fields of a request's body, and what is said of those that are not as they must be. Pure.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "core/address.h"
#include "core/config.h"
#include "core/secret.h"
#include "daemon/api/parsed.h"
#include "daemon/api/strict_json.h"

namespace mailotp::daemon {

[[nodiscard]] tl::unexpected<ProblemDetail> refuse(Problem problem, std::string detail,
                                                   std::string field = {});
// `field` is a dotted path; the detail begins with it.
[[nodiscard]] tl::unexpected<ProblemDetail> bad_field(const std::string& field, const std::string& detail);

// Strict JSON that is one object with no other fields than those.
[[nodiscard]] Parsed<nlohmann::json> parse_object(std::string_view body,
                                                  std::initializer_list<std::string_view> known);
// A string of at most `max` bytes; absent or null: empty. `prefix` leads to the object: "code.".
[[nodiscard]] Parsed<std::string> text_of(const nlohmann::json& object, const char* name, std::size_t max,
                                          const std::string& prefix = {});
// An address, which must be there.
[[nodiscard]] Parsed<core::Address> address_of(const nlohmann::json& object, const char* name);
// An object of strings, as canonical text: keys sorted, no white space. Absent: empty.
[[nodiscard]] Parsed<core::Secret> strings_of(const nlohmann::json& object, const char* name);
// `locale`; absent: the configuration's.
[[nodiscard]] Parsed<std::string> locale_of(const nlohmann::json& object, const core::Config& config);

}  // namespace mailotp::daemon
