#include "tests/fuzz/template_invariants.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "mail/compose/lint.h"
#include "mail/compose/manifest.h"
#include "mail/compose/utf8.h"
#include "mail/compose/visible_text.h"
#include "tests/fuzz/mime_invariants.h"
#include "tests/fuzz/must.h"

namespace mailotp::fuzz {
namespace {

using mail::Escape;
using mail::Manifest;
using mail::Partials;
using mail::SourceFile;
using mail::StrictTemplate;
using mail::Token;
using mail::TokenKind;
using mail::Values;

constexpr std::string_view k_code = "402951";  // not the one that the lint puts in
constexpr std::string_view k_hostile = "<b title=\"x\">&amp;'{{app}}</b>";
constexpr std::size_t k_most_text = 256UL * 1024;

struct Files {
  SourceFile manifest{"template.toml", {}};
  SourceFile subject{"subject.mustache", {}};
  SourceFile text{"text.mustache", {}};
  SourceFile html{"html.mustache", {}};
  Partials partials;
};

// As the reader of the files guarantees: UTF-8 without controls, lines end in LF.
std::string fit_for_a_file(std::string_view bytes) {
  std::string out;
  for (std::size_t pos = 0; pos < bytes.size();) {
    const std::size_t start = pos;
    const char32_t c = mail::next_code_point(bytes, pos);
    if (c == mail::k_bad_utf8 || c == 0x7F || (c < 0x20 && c != '\n' && c != '\t'))
      out += '?';
    else
      out += bytes.substr(start, pos - start);
  }
  return out;
}

SourceFile* file_of(Files& files, std::string_view name) {
  constexpr std::string_view k_folder = "_partials/";
  constexpr std::string_view k_suffix = ".mustache";
  for (SourceFile* file : {&files.manifest, &files.subject, &files.text, &files.html})
    if (file->path == name) return file;
  if (!name.starts_with(k_folder) || !name.ends_with(k_suffix) ||
      name.size() <= k_folder.size() + k_suffix.size())
    return nullptr;
  SourceFile& partial = files.partials[std::string(
      name.substr(k_folder.size(), name.size() - k_folder.size() - k_suffix.size()))];
  partial.path = std::string(name);
  return &partial;
}

Files split(const std::string& input) {
  constexpr std::string_view k_mark = "==> ";
  Files files;
  SourceFile* file = &files.text;
  for (std::string_view rest = input; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size() - 1) + 1;
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end);
    SourceFile* next = nullptr;
    if (line.starts_with(k_mark) && line.ends_with('\n'))
      next = file_of(files, line.substr(k_mark.size(), line.size() - k_mark.size() - 1));
    if (next != nullptr)
      file = next;
    else
      file->text += line;
  }
  // As TemplateSet does: in a subject the line end of the file has no place.
  while (files.subject.text.ends_with('\n'))
    files.subject.text.pop_back();
  return files;
}

void check_error(const core::Error& error, const Files& files) {
  must(error.code == core::Errc::invalid, "what is wrong with a template is its author's");
  must(!has_control(error.what) && mail::valid_utf8(error.what), "an error is one line of text");
  must(error.what.size() <= 1000, "an error is short");
  const auto is_of = [&error](const SourceFile& file) { return error.what.starts_with(file.path + ":"); };
  must(is_of(files.manifest) || is_of(files.subject) || is_of(files.text) || is_of(files.html) ||
           std::any_of(files.partials.begin(), files.partials.end(),
                       [&](const auto& partial) { return is_of(partial.second); }),
       "an error begins with its file");
}

// ---- Rendering, written down once more without the library.

std::string escaped(std::string_view value, Escape escape) {
  std::string out;
  for (const char c : value) {
    const std::size_t special = std::string_view("&<>\"'").find(c);
    constexpr std::array<std::string_view, 5> k_names{"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
    if (escape == Escape::html && special != std::string_view::npos)
      out += k_names[special];
    else
      out += c;
  }
  return out;
}

std::string expected(const std::vector<Token>& tokens, const Values& values, Escape escape) {
  std::string out;
  std::vector<bool> shown{true};
  for (const Token& token : tokens) {
    switch (token.kind) {
      case TokenKind::text:
        if (shown.back()) out += token.value;
        break;
      case TokenKind::variable:
        if (shown.back()) out += escaped(values.find(token.value), escape);
        break;
      case TokenKind::section:
        shown.push_back(shown.back() && !values.find(token.value).empty());
        break;
      case TokenKind::inverted:
        shown.push_back(shown.back() && values.find(token.value).empty());
        break;
      case TokenKind::close:
        shown.pop_back();
        break;
      case TokenKind::partial:
        must(false, "expand() leaves no partial");
        break;
    }
  }
  must(shown.size() == 1, "expand() closes what it opens");
  return out;
}

struct Part {
  std::vector<Token> tokens;
  StrictTemplate parsed;
  Escape escape;
};

// What the part says with these values; nothing when one is absent that it needs.
std::optional<std::string> render(const Part& part, const Values& values) {
  std::string out = "before";
  const core::Result<> done = part.parsed.render(values, out);
  if (!done) {
    const mail::NameUse* use = part.parsed.use(done.error().what);
    must(done.error().code == core::Errc::not_found && use != nullptr && use->needed &&
             values.find(use->name).empty(),
         "only an absent value stops a rendering, and it is named");
    must(out == "before", "a rendering that fails leaves nothing");
    return std::nullopt;
  }
  must(out == "before" + expected(part.tokens, values, part.escape), "a rendering says what its source says");
  return out.substr(6);
}

std::optional<Part> compile(const SourceFile& source, const Files& files, Escape escape) {
  std::set<std::string> used;
  auto tokens = mail::expand(source, files.partials, used);
  if (!tokens) {
    check_error(tokens.error(), files);
    return std::nullopt;
  }
  std::size_t text = 0;
  for (const Token& token : *tokens)
    text += token.value.size();
  must(text <= k_most_text, "partials make no template too large");
  for (const std::string& name : used)
    must(files.partials.contains(name), "only partials that are there are used");
  auto parsed = StrictTemplate::compile(*tokens, escape);
  if (!parsed) {
    check_error(parsed.error(), files);
    return std::nullopt;
  }
  return Part{std::move(*tokens), std::move(*parsed), escape};
}

// ---- Values.

struct Case {
  bool optional_present;
  std::string_view minutes;
  std::string_view hours;
  std::string_view purpose;
};

Values values_of(const Case& one, const std::vector<const Part*>& parts, const Manifest& manifest,
                 bool with_code) {
  constexpr std::string_view k_binding = "binding.";
  Values values;
  values.recipient = "\"<o'brien>&co\"@example.org";
  values.app = k_hostile;
  if (one.optional_present) values.domain = "shop.example";
  if (with_code) {
    values.code = k_code;
    values.purpose = one.purpose;
    values.minutes = one.minutes;
    values.hours = one.hours;
    values.expires_at = "12:10 UTC";
  }
  for (const Part* part : parts)
    for (const mail::NameUse& use : part->parsed.uses())
      if (use.name.starts_with(k_binding) && (one.optional_present || use.needed))
        values.binding.emplace_back(std::string_view(use.name).substr(k_binding.size()), k_hostile);
  for (const mail::Variable& variable : manifest.variables) {
    std::string_view value = variable.default_value;
    if (one.optional_present || variable.required)
      value = mail::refuse_value(variable.kind, variable.max_length, k_hostile) ? variable.sample : k_hostile;
    values.variables.emplace_back(variable.name, value);
  }
  return values;
}

std::vector<Case> cases_of(const std::vector<const Part*>& parts) {
  constexpr std::string_view k_flag = "purpose.";
  constexpr std::size_t k_enough = 4;
  std::set<std::string_view> purposes{"any-other"};
  for (const Part* part : parts)
    for (const mail::NameUse& use : part->parsed.uses())
      if (use.name.starts_with(k_flag) && purposes.size() < k_enough)
        purposes.insert(std::string_view(use.name).substr(k_flag.size()));
  std::vector<Case> cases;
  for (const std::string_view purpose : purposes) {
    for (const bool present : {true, false}) {
      cases.push_back({present, "10", "", purpose});
      cases.push_back({present, "1", "", purpose});
      cases.push_back({present, "1440", "24", purpose});
    }
  }
  return cases;
}

// ---- What the lint promises.

void check_code_in_text(std::string_view text) {
  std::size_t alone = 0;
  for (std::string_view rest = text;;) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    if (rest.substr(0, end) == k_code) ++alone;
    if (end == rest.size()) break;
    rest.remove_prefix(end + 1);
  }
  must(alone == 1, "the code is alone on one line of the text");
}

void check_linted(const Files& files, const Manifest& manifest, Part subject, Part text, Part html) {
  const auto shows_code = [](const Part& part) {
    const mail::NameUse* code = part.parsed.use("code");
    return code != nullptr && code->shown > 0;
  };
  const bool uses_code = shows_code(subject) || shows_code(text) || shows_code(html);
  std::vector<const Part*> parts{&subject, &text, &html};
  const std::vector<Case> cases = cases_of(parts);
  std::vector<Values> all;
  all.reserve(cases.size());
  for (const Case& one : cases)
    all.push_back(values_of(one, parts, manifest, uses_code));

  for (const Values& values : all)
    for (const Part* part : parts)
      (void)render(*part, values);
  mail::TemplateVariant variant{"en",
                                "0123456789abcdef",
                                "",
                                std::move(subject.parsed),
                                std::move(text.parsed),
                                std::move(html.parsed),
                                uses_code};
  const core::Result<> linted = mail::lint(variant, manifest, {files.subject, files.text, files.html});
  subject.parsed = std::move(variant.subject);
  text.parsed = std::move(variant.text);
  html.parsed = std::move(variant.html);
  if (!linted) return check_error(linted.error(), files);

  for (const Values& values : all) {
    const auto subject_line = render(subject, values);
    const auto plain = render(text, values);
    const auto page = render(html, values);
    must(subject_line && plain && page, "what passed the lint can be rendered");
    must(subject_line->find('\n') == std::string::npos && !subject_line->empty(), "a subject is one line");
    if (uses_code) {
      check_code_in_text(*plain);
      must(page->find(k_code) != std::string::npos, "the code is in the HTML");
    }
    check_mime(*subject_line, *plain, *page);
  }
}

void check_visible(std::string_view html) {
  const std::string visible = mail::visible_text(html);
  must(visible.size() <= html.size(), "what is seen is no more than what is there");
  for (const std::string& number : mail::code_like_numbers(visible)) {
    const auto digits =
        std::count_if(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
    must(digits >= 4 && digits <= 12, "a number that looks like a code has 4 to 12 digits");
  }
}

}  // namespace

void check_template(std::string_view input) {
  const Files files = split(fit_for_a_file(input));
  auto manifest = mail::parse_manifest(files.manifest);
  if (!manifest) check_error(manifest.error(), files);
  check_visible(files.html.text);
  auto subject = compile(files.subject, files, Escape::none);
  auto text = compile(files.text, files, Escape::none);
  auto html = compile(files.html, files, Escape::html);
  if (!subject || !text || !html) return;
  check_linted(files, manifest ? *manifest : Manifest{}, std::move(*subject), std::move(*text),
               std::move(*html));
}

}  // namespace mailotp::fuzz
