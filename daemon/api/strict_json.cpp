#include "daemon/api/strict_json.h"

#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace mailotp::daemon {

namespace {

constexpr int k_max_levels = 16;

}  // namespace

core::Result<nlohmann::json> parse_strict(std::string_view text) {
  using nlohmann::json;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  bool too_deep = false, duplicate = false;
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        too_deep = too_deep || depth + 1 > k_max_levels;
        keys.emplace_back();
        break;
      case json::parse_event_t::object_end:
      case json::parse_event_t::array_end:
        keys.pop_back();
        break;
      case json::parse_event_t::key:
        duplicate = duplicate || !keys.back().insert(parsed.get<std::string>()).second;
        break;
      case json::parse_event_t::value:
        break;
    }
    return !too_deep;
  };
  try {
    json value = json::parse(text.begin(), text.end(), watch);
    if (too_deep)
      return core::fail(core::Errc::malformed, fmt::format("nested over {} levels", k_max_levels));
    if (duplicate) return core::fail(core::Errc::malformed, "a key stands twice in one object");
    return value;
  } catch (const json::parse_error& e) {
    return core::fail(core::Errc::malformed, fmt::format("not JSON at byte {}", e.byte));
  } catch (const json::exception&) {
    return core::fail(core::Errc::malformed, "not JSON that can be read: a number is out of range");
  }
}

}  // namespace mailotp::daemon
