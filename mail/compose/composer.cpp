#include "mail/compose/composer.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/bounce.h"
#include "core/check.h"
#include "mail/compose/json_fields.h"
#include "mail/compose/mime.h"
#include "mail/compose/wiped_string.h"

namespace mailotp::mail {

namespace {

using core::ComposeError;
using core::ComposeFault;

tl::unexpected<ComposeError> failed(std::string detail, std::string field) {
  return tl::unexpected<ComposeError>(
      ComposeError{ComposeFault::template_failed, std::move(detail), std::move(field)});
}

// Names come from the request: one that could not be a name is not repeated.
tl::unexpected<ComposeError> refuse_field(std::string_view object, std::string_view name,
                                          const std::string& why) {
  if (!is_variable_name(name))
    return failed(std::string(object) + " has a field whose name is none", std::string(object));
  const std::string field = std::string(object) + "." + std::string(name);
  return failed(field + " " + why, field);
}

using Fields = std::vector<JsonField>;

tl::expected<Fields, ComposeError> parse_object(std::string_view object, const core::Secret& json) {
  auto fields = parse_json_fields(json.reveal());
  if (!fields) return failed(std::string(object) + " is not a JSON object", std::string(object));
  return std::move(*fields);
}

tl::expected<void, ComposeError> take_data(const Fields& data, const MailTemplate& from, Values& values) {
  for (const JsonField& field : data) {
    const Variable* variable = from.manifest.find(field.name);
    if (variable == nullptr)
      return refuse_field("data", field.name, "is not a variable of template " + from.name);
    if (!field.is_string) return refuse_field("data", field.name, "must be a string");
    if (const auto why = refuse_value(variable->kind, variable->max_length, field.value.reveal()))
      return refuse_field("data", field.name, *why);
    if (!field.value.empty()) values.variables.emplace_back(field.name, field.value.reveal());
  }
  for (const Variable& variable : from.manifest.variables) {
    if (!values.find(variable.name).empty()) continue;
    if (variable.required) return refuse_field("data", variable.name, "is required by template " + from.name);
    values.variables.emplace_back(variable.name, variable.default_value);
  }
  return {};
}

bool uses(const TemplateVariant& variant, const std::string& name) {
  return variant.text.use(name) != nullptr || variant.html.use(name) != nullptr ||
         variant.subject.use(name) != nullptr;
}

// Only the fields that the template shows must be fit to be shown.
tl::expected<void, ComposeError> take_binding(const Fields& binding, const TemplateVariant& variant,
                                              Values& values) {
  for (const JsonField& field : binding) {
    if (!uses(variant, "binding." + field.name)) continue;
    if (!field.is_string) return refuse_field("binding", field.name, "must be a string");
    if (const auto why = refuse_value(ValueKind::text, k_binding_length, field.value.reveal()))
      return refuse_field("binding", field.name, *why);
    values.binding.emplace_back(field.name, field.value.reveal());
  }
  return {};
}

struct LifeTexts {
  std::string minutes;
  std::string hours;
  std::string expires_at;
};

LifeTexts life_texts(core::WallTime at, core::Millis life) {
  using std::chrono::floor;
  const auto minutes = std::max<std::int64_t>(1, floor<std::chrono::minutes>(life).count());
  LifeTexts texts;
  texts.minutes = std::to_string(minutes);
  if (minutes >= 120) texts.hours = std::to_string(minutes / 60);
  // "2026-11-20T12:10:00.000Z"
  texts.expires_at = core::format_rfc3339(at + life).substr(11, 5) + " UTC";
  return texts;
}

struct Rendered {
  WipedString subject;
  WipedString text;
  WipedString html;
};

// What a person can do about a value that is absent.
tl::unexpected<ComposeError> absent(const std::string& name, const MailTemplate& from) {
  if (name.starts_with("binding.")) return failed(name + " is required by template " + from.name, name);
  return failed(name + " is needed by template " + from.name + " and only there in mails that carry a code",
                {});
}

// The origin-bound line (the format of one-time codes in text messages, which mail clients know too):
// software offers the code only on pages of this domain. It is the last line, by itself.
constexpr std::size_t k_origin_frame = 6;  // "\n\n@ #\n"

void end_text(std::string& text, std::string_view domain, std::string_view code) {
  while (text.ends_with('\n'))
    text.pop_back();
  text += '\n';
  if (domain.empty() || code.empty()) return;
  text += "\n@";
  text += domain;
  text += " #";
  text += code;
  text += '\n';
}

tl::expected<void, ComposeError> render(const TemplateSet::Match& match, const Values& values,
                                        Rendered& out) {
  const TemplateVariant& variant = match.variant;
  const std::size_t origin_room = values.domain.size() + values.code.size() + k_origin_frame;
  core::Result<> done = variant.subject.render(values, out.subject.bytes);
  if (done) done = variant.text.render(values, out.text.bytes, origin_room);
  if (done) done = variant.html.render(values, out.html.bytes);
  if (!done) return absent(done.error().what, match.mail_template);
  end_text(out.text.bytes, values.domain, values.code);
  return {};
}

struct Sender {
  const core::NamedAddress& from;
  std::string_view domain;
};

Sender sender_of(const ComposerSettings& settings, std::string_view app) {
  const auto own = settings.apps.find(app);
  if (own == settings.apps.end()) return {settings.from, settings.domain};
  return {own->second.from ? *own->second.from : settings.from, own->second.domain};
}

tl::expected<core::ComposedMail, ComposeError> write(const core::ComposeRequest& request,
                                                     const ComposerSettings& settings, const Sender& sender,
                                                     const TemplateSet::Match& match,
                                                     const Rendered& rendered) {
  const std::string id = core::to_string(request.message);
  const std::string token = settings.tokens->message(request.message);
  const std::string message_id = "<" + token + "@" + settings.hostname + ">";
  const std::string boundary = "=_" + id;
  std::vector<Header> more{{"Auto-Submitted", "auto-generated"},
                           // Never "All", "NDR" or "DR": they ask Exchange not to bounce.
                           {"X-Auto-Response-Suppress", "OOF, AutoReply, RN, NRN"},
                           {std::string(core::k_token_header), token}};
  if (settings.mode_header == ModeHeader::development) more.push_back({"X-Mailotp-Mode", "development"});
  auto content = write_mime({request.at, sender.from, request.recipient, rendered.subject.bytes, message_id,
                             boundary, more, rendered.text.bytes, rendered.html.bytes});
  if (!content) return failed(content.error().what, {});
  return core::ComposedMail{.content = std::move(*content),
                            .message_id = message_id,
                            .template_version = match.variant.version,
                            .locale = match.variant.locale,
                            .on_uncertain = match.mail_template.manifest.on_uncertain};
}

}  // namespace

MailComposer::MailComposer(TemplateSet templates, ComposerSettings settings)
    : templates_(std::move(templates)), settings_(std::move(settings)) {
  CHECK(settings_.tokens != nullptr);
}

const TemplateSet& MailComposer::templates(std::string_view app) const {
  const auto own = settings_.apps.find(app);
  return own != settings_.apps.end() && own->second.templates ? *own->second.templates : templates_;
}

std::vector<core::TemplateOutline> MailComposer::outlines(std::string_view app) const {
  return templates(app).outlines();
}

std::optional<core::TemplateOutline> MailComposer::outline(std::string_view app, std::string_view name,
                                                           std::string_view locale) const {
  const auto match = templates(app).find(name, locale);
  if (!match) return std::nullopt;
  return TemplateSet::outline(match->mail_template, match->variant);
}

tl::expected<core::ComposedMail, ComposeError> MailComposer::compose(
    const core::ComposeRequest& request) const {
  const auto match = templates(request.app).find(request.template_name, request.locale);
  if (!match)
    return tl::unexpected<ComposeError>(
        ComposeError{ComposeFault::template_unknown, "there is no template of that name", "template"});
  const MailTemplate& from = match->mail_template;
  const TemplateVariant& variant = match->variant;
  if (variant.uses_code && request.code.empty())
    return failed("template " + from.name + " shows a code and this mail carries none", "template");
  if (!variant.uses_code && !request.code.empty())
    return failed("template " + from.name + " does not show the code", "template");
  const auto data = parse_object("data", request.variables);
  if (!data) return tl::unexpected(data.error());
  const auto binding = parse_object("binding", request.binding);
  if (!binding) return tl::unexpected(binding.error());

  const Sender sender = sender_of(settings_, request.app);
  const std::string recipient = request.recipient.mailbox();
  const LifeTexts life = request.code.empty() ? LifeTexts{} : life_texts(request.at, request.life);
  Values values;
  values.recipient = recipient;
  values.purpose = request.purpose;
  values.app = sender.from.name.empty() ? request.app : sender.from.name;
  values.domain = sender.domain;
  values.code = request.code.reveal();
  values.minutes = life.minutes;
  values.hours = life.hours;
  values.expires_at = life.expires_at;
  if (auto taken = take_data(*data, from, values); !taken) return tl::unexpected(taken.error());
  if (auto taken = take_binding(*binding, variant, values); !taken) return tl::unexpected(taken.error());

  Rendered rendered;
  if (auto done = render(*match, values, rendered); !done) return tl::unexpected(done.error());
  return write(request, settings_, sender, *match, rendered);
}

}  // namespace mailotp::mail
