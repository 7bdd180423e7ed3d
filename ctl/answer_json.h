// How the daemon's JSON is taken apart: by all that reads answers, and by nothing else. What is not there, or
// of another type, is empty.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/result.h"
#include "core/time.h"
#include "ctl/answers.h"

namespace mailotp::ctl::answer {

using Json = nlohmann::ordered_json;

[[nodiscard]] const Json& member(const Json& object, const char* name);
[[nodiscard]] std::string text(const Json& object, const char* name);
[[nodiscard]] std::int64_t whole(const Json& object, const char* name);
[[nodiscard]] bool truth(const Json& object, const char* name);
[[nodiscard]] std::optional<core::WallTime> time(const Json& object, const char* name);
[[nodiscard]] std::map<std::string, std::int64_t> counts(const Json& object, const char* name);
[[nodiscard]] std::vector<std::string> texts(const Json& object, const char* name);

// One line of ASCII.
[[nodiscard]] std::string line_of(const Json& value);
// "450 4.2.1 try again", of whatever is there.
[[nodiscard]] std::string reply_text(const Json& reply);
// An event's detail for people: "stage=rcpt relay=primary".
[[nodiscard]] std::string detail_text(const Json& detail);

[[nodiscard]] EventInfo event_of(const Json& value);

// Errc::malformed: not JSON, or no object; a page has "items".
[[nodiscard]] core::Result<Json> parse_object(std::string_view body);
[[nodiscard]] core::Result<Json> parse_page(std::string_view body);

template <class T>
[[nodiscard]] core::Result<PageInfo<T>> page_of(std::string_view body, T (*read)(const Json&)) {
  const auto page = parse_page(body);
  if (!page) return tl::unexpected(page.error());
  PageInfo<T> out;
  for (const Json& item : member(*page, "items")) {
    if (item.is_object()) out.items.push_back(read(item));
  }
  out.next_cursor = text(*page, "next_cursor");
  return out;
}

}  // namespace mailotp::ctl::answer
