// The templates of one installation: read from their directories, linted, parsed, and immutable from then on;
// several threads may use one set at once.
//
//   <directory>/<name>/template.toml
//   <directory>/<name>/<locale>/{subject,text,html}.mustache
//   <directory>/_partials/<partial>.mustache
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/composer.h"
#include "core/result.h"
#include "mail/compose/manifest.h"
#include "mail/compose/strict_template.h"

namespace mailotp::mail {

// One locale of one template.
struct TemplateVariant {
  std::string locale;   // as its directory is called: "de", "pt-BR"
  std::string version;  // 16 hex digits: SHA-256 over `source`, cut
  std::string source;   // every file that it is made of, each under a line with its name and size
  StrictTemplate subject;
  StrictTemplate text;
  StrictTemplate html;
  bool uses_code = false;
  core::TemplateOrigin origin = core::TemplateOrigin::installed;  // of its files and partials
};

struct MailTemplate {
  std::string name;
  Manifest manifest;
  std::map<std::string, TemplateVariant> variants;  // by locale in lower case
};

class TemplateSet {
 public:
  // Reads the directories; a file of a later one stands in for the same file of an earlier one, so that an
  // operator can change one subject or one partial. A directory that is not there is skipped. Blocks on the
  // disk: for start and reload only, and the only code here that opens a file. Errors: Errc::not_found, no
  // template at all; Errc::io, a file cannot be read; Errc::invalid, what lint.h and the parsers refuse, as
  // "path:line: why".
  [[nodiscard]] static core::Result<TemplateSet> load(const std::vector<std::string>& directories,
                                                      std::string_view default_locale);

  struct Match {
    const MailTemplate& mail_template;
    const TemplateVariant& variant;
  };
  // Falls back from "de-AT" to "de" to the default; nothing only where the name is unknown. Points into the
  // set.
  [[nodiscard]] std::optional<Match> find(std::string_view name, std::string_view locale) const;

  [[nodiscard]] const std::map<std::string, MailTemplate, std::less<>>& all() const { return templates_; }
  // What find() finds, and all there are, for operators.
  [[nodiscard]] static core::TemplateOutline outline(const MailTemplate& one, const TemplateVariant& variant);
  [[nodiscard]] std::vector<core::TemplateOutline> outlines() const;

  // What a mail was made of, by its ComposedMail::template_version.
  [[nodiscard]] std::optional<std::string_view> source(std::string_view version) const;

 private:
  TemplateSet() = default;
  std::map<std::string, MailTemplate, std::less<>> templates_;
  std::string default_locale_;
};

}  // namespace mailotp::mail
