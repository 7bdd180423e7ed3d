#include "mail/compose/template_set.h"

#include <algorithm>
#include <array>

#include <openssl/evp.h>

#include "mail/compose/lint.h"
#include "mail/compose/template_files.h"

namespace mailotp::mail {

namespace {

using core::Errc;

constexpr std::size_t k_version_bytes = 8;  // 16 hex digits

core::Result<std::string> version_of(std::string_view source) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned int length = 0;
  if (EVP_Digest(source.data(), source.size(), hash.data(), &length, EVP_sha256(), nullptr) != 1)
    return core::fail(Errc::internal, "SHA-256 failed");
  constexpr std::string_view k_hex = "0123456789abcdef";
  std::string version;
  for (std::size_t i = 0; i < k_version_bytes; ++i) {
    version += k_hex[hash[i] >> 4];
    version += k_hex[hash[i] & 0x0F];
  }
  return version;
}

// The size in the line above makes the whole unambiguous, and so the hash over it.
void append_source(std::string& out, const std::string& name, const SourceFile& file) {
  out += "==> " + name + " (" + std::to_string(file.text.size()) + " bytes)\n" + file.text + "\n";
}

core::Result<StrictTemplate> parse(const SourceFile& file, const Partials& partials, Escape escape,
                                   std::set<std::string>& used) {
  auto tokens = expand(file, partials, used);
  if (!tokens) return tl::unexpected(tokens.error());
  return StrictTemplate::compile(*tokens, escape);
}

bool shows_code(const StrictTemplate& part) {
  const NameUse* code = part.use("code");
  return code != nullptr && code->shown > 0;
}

std::string source_of(const LocaleFiles& files, const std::optional<SourceFile>& manifest,
                      const Partials& partials, const std::set<std::string>& used) {
  std::string source;
  if (manifest) append_source(source, "template.toml", *manifest);
  append_source(source, "subject.mustache", *files.subject);
  append_source(source, "text.mustache", *files.text);
  append_source(source, "html.mustache", *files.html);
  for (const std::string& name : used)
    append_source(source, "_partials/" + name + ".mustache", partials.at(name));
  return source;
}

core::TemplateOrigin origin_of(const LocaleFiles& files, const std::optional<SourceFile>& manifest,
                               const Partials& partials, const std::set<std::string>& used) {
  if (files.first_layer > 0) return core::TemplateOrigin::own;
  std::size_t layer = std::max({files.subject->layer, files.text->layer, files.html->layer});
  if (manifest) layer = std::max(layer, manifest->layer);
  for (const std::string& name : used)
    layer = std::max(layer, partials.at(name).layer);
  return layer > 0 ? core::TemplateOrigin::overridden : core::TemplateOrigin::installed;
}

core::Result<TemplateVariant> make_variant(const LocaleFiles& files,
                                           const std::optional<SourceFile>& manifest_file,
                                           const Manifest& manifest, const Partials& partials) {
  if (!files.subject) return core::fail(Errc::invalid, files.directory + ": subject.mustache is missing");
  if (!files.text) return core::fail(Errc::invalid, files.directory + ": text.mustache is missing");
  if (!files.html) return core::fail(Errc::invalid, files.directory + ": html.mustache is missing");
  // Editors end a file with a line end; in a subject it has no place.
  SourceFile subject_line = *files.subject;
  while (subject_line.text.ends_with('\n'))
    subject_line.text.pop_back();

  std::set<std::string> used;
  auto subject = parse(subject_line, partials, Escape::none, used);
  if (!subject) return tl::unexpected(subject.error());
  auto text = parse(*files.text, partials, Escape::none, used);
  if (!text) return tl::unexpected(text.error());
  auto html = parse(*files.html, partials, Escape::html, used);
  if (!html) return tl::unexpected(html.error());
  std::string source = source_of(files, manifest_file, partials, used);
  auto version = version_of(source);
  if (!version) return tl::unexpected(version.error());
  const bool uses_code = shows_code(*subject) || shows_code(*text) || shows_code(*html);
  TemplateVariant variant{files.locale,      std::move(*version),
                          std::move(source), std::move(*subject),
                          std::move(*text),  std::move(*html),
                          uses_code,         origin_of(files, manifest_file, partials, used)};
  if (auto checked = lint(variant, manifest, {subject_line, *files.text, *files.html}); !checked)
    return tl::unexpected(checked.error());
  return variant;
}

core::TemplateLocale locale_outline(const TemplateVariant& variant) {
  constexpr std::string_view k_binding = "binding.";
  std::map<std::string, bool> binding;
  for (const StrictTemplate* part : {&variant.subject, &variant.text, &variant.html})
    for (const NameUse& use : part->uses())
      if (use.name.starts_with(k_binding)) binding[use.name.substr(k_binding.size())] |= use.needed;
  core::TemplateLocale out{variant.locale, variant.version, variant.origin, variant.uses_code, {}};
  for (const auto& [name, needed] : binding)
    out.binding.push_back({name, needed});
  return out;
}

core::TemplateOutline outline_of(const MailTemplate& one) {
  core::TemplateOutline out{one.name, one.manifest.on_uncertain, {}, {}};
  for (const Variable& variable : one.manifest.variables)
    out.variables.push_back({variable.name, variable.kind == ValueKind::url ? "url" : "text",
                             variable.required, variable.default_value, variable.max_length,
                             variable.sample});
  return out;
}

// The variant of `locale`, or of what is left of it when its last parts are cut off one by one.
const TemplateVariant* fall_back(const MailTemplate& from, std::string_view locale) {
  std::string key = locale_key(locale);
  while (!key.empty()) {
    const auto variant = from.variants.find(key);
    if (variant != from.variants.end()) return &variant->second;
    const std::size_t last = key.rfind('-');
    key.resize(last == std::string::npos ? 0 : last);
  }
  return nullptr;
}

core::Result<MailTemplate> make_template(const std::string& name, const TemplateFiles& files,
                                         const Partials& partials, std::string_view default_locale) {
  MailTemplate made{name, {}, {}};
  if (files.manifest) {
    auto manifest = parse_manifest(*files.manifest);
    if (!manifest) return tl::unexpected(manifest.error());
    made.manifest = std::move(*manifest);
  }
  for (const auto& [key, locale_files] : files.locales) {
    auto variant = make_variant(locale_files, files.manifest, made.manifest, partials);
    if (!variant) return tl::unexpected(variant.error());
    made.variants.emplace(key, std::move(*variant));
  }
  if (fall_back(made, default_locale) == nullptr)
    return core::fail(Errc::invalid, files.directory + ": template " + name + " has no locale " +
                                         std::string(default_locale) + ", the default");
  return made;
}

}  // namespace

core::Result<TemplateSet> TemplateSet::load(const std::vector<std::string>& directories,
                                            std::string_view default_locale) {
  auto files = read_template_files(directories);
  if (!files) return tl::unexpected(files.error());
  TemplateSet set;
  set.default_locale_ = default_locale;
  for (const auto& [name, template_files] : files->templates) {
    auto made = make_template(name, template_files, files->partials, default_locale);
    if (!made) return tl::unexpected(made.error());
    set.templates_.emplace(name, std::move(*made));
  }
  if (set.templates_.empty()) {
    std::string where;
    for (const std::string& directory : directories)
      where += " " + directory;
    return core::fail(Errc::not_found, "no templates in" + where);
  }
  return set;
}

std::optional<TemplateSet::Match> TemplateSet::find(std::string_view name, std::string_view locale) const {
  const auto found = templates_.find(name);
  if (found == templates_.end()) return std::nullopt;
  const TemplateVariant* variant = fall_back(found->second, locale);
  if (variant == nullptr) variant = fall_back(found->second, default_locale_);
  return Match{found->second, *variant};
}

core::TemplateOutline TemplateSet::outline(const MailTemplate& one, const TemplateVariant& variant) {
  core::TemplateOutline out = outline_of(one);
  out.locales.push_back(locale_outline(variant));
  return out;
}

std::vector<core::TemplateOutline> TemplateSet::outlines() const {
  std::vector<core::TemplateOutline> out;
  for (const auto& [name, one] : templates_) {
    out.push_back(outline_of(one));
    for (const auto& [locale, variant] : one.variants)
      out.back().locales.push_back(locale_outline(variant));
  }
  return out;
}

std::optional<std::string_view> TemplateSet::source(std::string_view version) const {
  for (const auto& [name, one] : templates_)
    for (const auto& [locale, variant] : one.variants)
      if (variant.version == version) return variant.source;
  return std::nullopt;
}

}  // namespace mailotp::mail
