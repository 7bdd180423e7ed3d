#include <fmt/format.h>

#include "ctl/answer_json.h"
#include "ctl/timeline.h"

namespace mailotp::ctl {
namespace {

using answer::Json;
using answer::member;
using answer::text;

TimelineInfo item_of(const Json& value) {
  TimelineInfo out;
  out.at = answer::time(value, "at");
  out.type = text(value, "type");
  out.app = text(value, "app");
  out.challenge = text(value, "challenge");
  out.message = text(value, "message");
  out.actor = text(value, "actor");
  if (member(value, "uid").is_number_integer()) out.actor += fmt::format(" {}", answer::whole(value, "uid"));
  if (const Json& detail = member(value, "detail"); detail.is_object()) {
    for (const auto& [name, field] : detail.items())
      out.detail[name] = name == "reply"     ? answer::reply_text(field)
                         : field.is_string() ? field.get<std::string>()
                                             : answer::line_of(field);
  }
  if (const Json& made_from = member(value, "template"); made_from.is_object()) {
    out.template_name = text(made_from, "name");
    out.locale = text(made_from, "locale");
  }
  return out;
}

}  // namespace

core::Result<PageInfo<TimelineInfo>> read_timeline(std::string_view body) {
  return answer::page_of(body, item_of);
}

}  // namespace mailotp::ctl
