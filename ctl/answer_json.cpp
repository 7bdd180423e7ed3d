#include "ctl/answer_json.h"

#include <fmt/format.h>

namespace mailotp::ctl::answer {
namespace {

using core::Errc;

constexpr int k_max_depth = 32;

}  // namespace

const Json& member(const Json& object, const char* name) {
  static const Json k_null;
  const auto it = object.find(name);
  return it == object.end() ? k_null : *it;
}

std::string text(const Json& object, const char* name) {
  const Json& value = member(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::int64_t whole(const Json& object, const char* name) {
  const Json& value = member(object, name);
  return value.is_number_integer() ? value.get<std::int64_t>() : 0;
}

bool truth(const Json& object, const char* name) {
  const Json& value = member(object, name);
  return value.is_boolean() && value.get<bool>();
}

std::optional<core::WallTime> time(const Json& object, const char* name) {
  const auto parsed = core::parse_rfc3339(text(object, name));
  return parsed ? std::optional(*parsed) : std::nullopt;
}

std::map<std::string, std::int64_t> counts(const Json& object, const char* name) {
  std::map<std::string, std::int64_t> out;
  const Json& value = member(object, name);
  if (!value.is_object()) return out;
  for (const auto& [key, count] : value.items()) {
    if (count.is_number_integer()) out.emplace(key, count.get<std::int64_t>());
  }
  return out;
}

std::vector<std::string> texts(const Json& object, const char* name) {
  std::vector<std::string> out;
  const Json& value = member(object, name);
  if (!value.is_array()) return out;
  for (const Json& item : value) {
    if (item.is_string()) out.push_back(item.get<std::string>());
  }
  return out;
}

std::string line_of(const Json& value) {
  return value.dump(-1, ' ', true, Json::error_handler_t::replace);
}

core::Result<Json> parse_object(std::string_view body) {
  // What is deeper is left out: printing it would recurse as deep.
  const auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth <= k_max_depth; };
  auto value = Json::parse(body, shallow, false);
  if (!value.is_object()) return core::fail(Errc::malformed, "the answer is no JSON object");
  return value;
}

core::Result<Json> parse_page(std::string_view body) {
  auto value = parse_object(body);
  if (value && !member(*value, "items").is_array())
    return core::fail(Errc::malformed, "the answer is no list: it has no \"items\"");
  return value;
}

std::string reply_text(const Json& reply) {
  if (!reply.is_object()) return {};
  std::string out;
  const auto add = [&out](const std::string& part) {
    if (!part.empty()) out += (out.empty() ? "" : " ") + part;
  };
  if (const auto code = whole(reply, "code"); code != 0) add(std::to_string(code));
  add(text(reply, "status"));
  add(text(reply, "text"));
  return out;
}

std::string detail_text(const Json& detail) {
  if (detail.is_null()) return {};
  if (!detail.is_object()) return line_of(detail);
  std::string out;
  for (const auto& [key, value] : detail.items()) {
    if (!out.empty()) out += ' ';
    const bool is_reply = key == "reply" && value.is_object();
    out += fmt::format("{}={}", key,
                       is_reply            ? reply_text(value)
                       : value.is_string() ? value.get<std::string>()
                                           : line_of(value));
  }
  return out;
}

EventInfo event_of(const Json& value) {
  EventInfo out{text(value, "at"), text(value, "type"), text(value, "actor"),
                detail_text(member(value, "detail"))};
  if (member(value, "uid").is_number_integer()) out.actor += fmt::format(" {}", whole(value, "uid"));
  return out;
}

}  // namespace mailotp::ctl::answer
