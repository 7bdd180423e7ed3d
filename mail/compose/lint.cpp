#include "mail/compose/lint.h"

#include <algorithm>
#include <array>
#include <set>

#include "mail/compose/visible_text.h"

namespace mailotp::mail {

namespace {

using core::Errc;

constexpr std::string_view k_sample_code = "739184";

struct Part {
  std::string_view name;
  const StrictTemplate& parsed;
  const SourceFile& source;
};

tl::unexpected<core::Error> refuse(const std::string& at, const std::string& why) {
  return core::fail(Errc::invalid, at + ": " + why);
}

std::string guard_advice(const std::string& name) {
  return name + " may be absent: put it inside {{#" + name + "}}…{{/" + name + "}}";
}

core::Result<> check_name(const NameUse& use, const Manifest& manifest) {
  if (const Variable* variable = manifest.find(use.name)) {
    if (use.needed && !variable->required && variable->default_value.empty())
      return refuse(use.at, guard_advice(use.name));
    return {};
  }
  const std::optional<Presence> presence = builtin_presence(use.name);
  if (!presence) return refuse(use.at, "unknown variable " + use.name);
  if (*presence == Presence::flag && use.shown > 0)
    return refuse(use.at, use.name + " is a switch: it has no text, only {{#" + use.name + "}} and {{^" +
                              use.name + "}}");
  if (*presence == Presence::sometimes && use.needed) return refuse(use.at, guard_advice(use.name));
  return {};
}

bool shows_code(const Part& part) {
  const NameUse* code = part.parsed.use("code");
  return code != nullptr && code->shown > 0;
}

std::string code_place(const Part& part) {
  const NameUse* code = part.parsed.use("code");
  return code == nullptr ? part.source.path : code->at;
}

core::Result<> check_code_parts(const Part& subject, const Part& text, const Part& html,
                                const Manifest& manifest) {
  if (shows_code(subject) && !manifest.code_in_subject)
    return refuse(
        code_place(subject),
        "the code is in the subject, which lock screens show: take it out, or say code_in_subject = "
        "true in template.toml");
  if (shows_code(text) && !shows_code(html))
    return refuse(html.source.path, "the code is in the text but not in the HTML");
  if (shows_code(html) && !shows_code(text))
    return refuse(text.source.path, "the code is in the HTML but not in the text");
  if (shows_code(subject) && !shows_code(text))
    return refuse(text.source.path, "the code is in the subject but not in the text");
  return {};
}

// One way in which a mail of this template may look.
struct Case {
  bool optional_present;
  std::string_view minutes;
  std::string_view hours;
  std::string purpose;
};

std::vector<Case> cases_of(const std::array<Part, 3>& parts) {
  constexpr std::string_view k_flag = "purpose.";
  std::set<std::string> purposes{"any-other"};
  for (const Part& part : parts)
    for (const NameUse& use : part.parsed.uses())
      if (use.name.starts_with(k_flag)) purposes.insert(use.name.substr(k_flag.size()));
  std::vector<Case> cases;
  for (const std::string& purpose : purposes) {
    for (const bool optional_present : {true, false}) {
      cases.push_back({optional_present, "10", "", purpose});
      cases.push_back({optional_present, "1", "", purpose});
      cases.push_back({optional_present, "1440", "24", purpose});
    }
  }
  return cases;
}

Values sample_values(const Case& one, const std::array<Part, 3>& parts, const Manifest& manifest,
                     bool with_code) {
  constexpr std::string_view k_binding = "binding.";
  Values values;
  values.recipient = "alice@example.org";
  values.app = "Example";
  if (one.optional_present) values.domain = "example.org";
  if (with_code) {
    values.code = k_sample_code;
    values.purpose = one.purpose;
    values.minutes = one.minutes;
    values.hours = one.hours;
    values.expires_at = "12:10 UTC";
  }
  for (const Part& part : parts)
    for (const NameUse& use : part.parsed.uses())
      if (use.name.starts_with(k_binding) && (one.optional_present || use.needed))
        values.binding.emplace_back(std::string_view(use.name).substr(k_binding.size()), "Sample");
  for (const Variable& variable : manifest.variables) {
    if (one.optional_present || variable.required)
      values.variables.emplace_back(variable.name, variable.sample);
    else
      values.variables.emplace_back(variable.name, variable.default_value);
  }
  return values;
}

std::size_t count_of(std::string_view needle, std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = text.find(needle); at != std::string_view::npos; at = text.find(needle, at + 1))
    ++count;
  return count;
}

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// Whether letters or digits touch the code, so that a double click would take more than it.
bool code_is_touched(std::string_view text) {
  const std::size_t start = text.find(k_sample_code);
  if (start == std::string_view::npos) return false;
  const std::size_t end = start + k_sample_code.size();
  return (start > 0 && is_alphanumeric(text[start - 1])) || (end < text.size() && is_alphanumeric(text[end]));
}

bool code_is_alone_on_its_line(std::string_view text) {
  const std::size_t start = text.find(k_sample_code);
  const std::size_t line = start == 0 ? 0 : text.rfind('\n', start - 1) + 1;
  const std::size_t line_end = std::min(text.find('\n', start), text.size());
  return line == start && line_end == start + k_sample_code.size();
}

// The line of a source on which a piece of rendered text stands, if it stands there at all.
std::string place_of(std::string_view piece, const SourceFile& source) {
  const std::size_t found = source.text.find(piece);
  if (found == std::string::npos) return source.path;
  const auto end = source.text.begin() + static_cast<std::ptrdiff_t>(found);
  return source.path + ":" + std::to_string(1 + std::count(source.text.begin(), end, '\n'));
}

core::Result<> check_numbers(const Part& part, std::string_view visible) {
  for (const std::string& number : code_like_numbers(visible))
    if (number != k_sample_code)
      return refuse(place_of(number, part.source),
                    "the number " + number + " looks like a code: autofill could take it");
  return {};
}

core::Result<> check_code_in_text(const Part& part, std::string_view text) {
  const std::size_t count = count_of(k_sample_code, text);
  if (count == 0) return refuse(code_place(part), "the code is missing from the text in some cases");
  if (count > 1) return refuse(code_place(part), "the code is more than once in the text");
  if (code_is_touched(text)) return refuse(code_place(part), "the code touches other letters or digits");
  if (!code_is_alone_on_its_line(text))
    return refuse(code_place(part), "the code must be alone on its line of the text");
  return check_numbers(part, text);
}

core::Result<> check_code_in_html(const Part& part, std::string_view html) {
  const std::string visible = visible_text(html);
  const std::size_t count = count_of(k_sample_code, html);
  if (count == 0) return refuse(code_place(part), "the code is missing from the HTML in some cases");
  if (count > 1) return refuse(code_place(part), "the code is more than once in the HTML");
  if (count_of(k_sample_code, visible) == 0)
    return refuse(code_place(part), "the code is in the HTML where nobody sees it");
  if (code_is_touched(visible)) return refuse(code_place(part), "the code touches other letters or digits");
  return check_numbers(part, visible);
}

core::Result<> check_subject(const Part& part, std::string_view subject) {
  if (subject.find('\n') != std::string_view::npos)
    return refuse(part.source.path + ":1", "the subject must be one line");
  if (subject.find_first_not_of(" \t") == std::string_view::npos)
    return refuse(part.source.path + ":1", "the subject is empty");
  // A header takes no control characters: no mail could be made.
  if (subject.find('\t') != std::string_view::npos)
    return refuse(part.source.path + ":1", "the subject holds a tab");
  return {};
}

core::Result<std::string> render(const Part& part, const Values& values) {
  std::string out;
  if (auto done = part.parsed.render(values, out); !done) {
    const NameUse* use = part.parsed.use(done.error().what);
    return refuse(use->at, use->name + " is only there in mails that carry a code");
  }
  return out;
}

core::Result<> check_case(const std::array<Part, 3>& parts, const Values& values) {
  std::array<std::string, 3> rendered;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    auto done = render(parts[i], values);
    if (!done) return tl::unexpected(done.error());
    rendered[i] = std::move(*done);
  }
  core::Result<> checked = check_subject(parts[0], rendered[0]);
  if (!checked || values.code.empty()) return checked;
  checked = check_numbers(parts[0], rendered[0]);
  if (checked) checked = check_code_in_text(parts[1], rendered[1]);
  if (checked) checked = check_code_in_html(parts[2], rendered[2]);
  return checked;
}

}  // namespace

core::Result<> lint(const TemplateVariant& variant, const Manifest& manifest, const VariantSources& sources) {
  const std::array<Part, 3> parts{Part{"subject", variant.subject, sources.subject},
                                  Part{"text", variant.text, sources.text},
                                  Part{"html", variant.html, sources.html}};
  for (const Part& part : parts)
    for (const NameUse& use : part.parsed.uses())
      if (auto checked = check_name(use, manifest); !checked) return checked;
  if (auto checked = check_code_parts(parts[0], parts[1], parts[2], manifest); !checked) return checked;
  for (const Case& one : cases_of(parts)) {
    const Values values = sample_values(one, parts, manifest, variant.uses_code);
    if (auto checked = check_case(parts, values); !checked) return checked;
  }
  return {};
}

}  // namespace mailotp::mail
