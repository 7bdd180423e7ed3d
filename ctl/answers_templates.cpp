// Answers about templates, and the events of the stream.
#include "ctl/answer_json.h"
#include "ctl/answers.h"

namespace mailotp::ctl {
namespace {

using answer::Json;
using answer::member;
using answer::text;
using answer::truth;

std::string variables_of(const Json& variables) {
  std::string out;
  for (const Json& variable : variables) {
    if (!variable.is_object()) continue;
    out += (out.empty() ? "" : ", ") + text(variable, "name");
    if (truth(variable, "required")) out += " (required)";
  }
  return out;
}

TemplateInfo template_of(const Json& item) {
  TemplateInfo out{text(item, "name"), variables_of(member(item, "variables")), {}};
  for (const Json& locale : member(item, "locales")) {
    if (locale.is_object())
      out.locales.push_back(
          {text(locale, "locale"), text(locale, "version"), text(locale, "origin"), truth(locale, "code")});
  }
  return out;
}

}  // namespace

core::Result<PageInfo<TemplateInfo>> read_templates(std::string_view body) {
  return answer::page_of(body, template_of);
}

core::Result<PreviewInfo> read_preview(std::string_view body) {
  const auto value = answer::parse_object(body);
  if (!value) return tl::unexpected(value.error());
  return PreviewInfo{text(*value, "locale"), text(*value, "version"), text(*value, "subject"),
                     text(*value, "text"), text(*value, "html")};
}

core::Result<StreamedInfo> read_streamed(std::string_view line) {
  const auto value = answer::parse_object(line);
  if (!value) return tl::unexpected(value.error());
  StreamedInfo out{text(*value, "cursor"), text(*value, "type"), text(*value, "app"), text(*value, "message"),
                   answer::event_of(*value)};
  if (out.about.empty()) out.about = text(*value, "challenge");
  if (out.cursor.empty() || out.type.empty())
    return core::fail(core::Errc::malformed, "an event has no cursor or no type");
  return out;
}

core::Result<std::int64_t> read_revision(std::string_view body) {
  const auto value = answer::parse_object(body);
  if (!value) return tl::unexpected(value.error());
  return answer::whole(*value, "revision");
}

std::string template_body(const TemplateUse& use, const std::string& recipient) {
  Json body = Json::object();
  const std::pair<const char*, const std::string&> fields[] = {
      {"recipient", recipient}, {"app", use.app}, {"locale", use.locale}, {"purpose", use.purpose}};
  for (const auto& [name, value] : fields) {
    if (!value.empty()) body[name] = value;
  }
  for (const auto& [name, value] : use.values)
    body["data"][name] = value;
  return answer::line_of(body);
}

}  // namespace mailotp::ctl
