// The files of a template set, read and merged; nothing is understood yet.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "mail/compose/template_tokens.h"

namespace mailotp::mail {

struct LocaleFiles {
  std::string locale;           // as the directory is called
  std::string directory;        // of the last one seen, for errors
  std::size_t first_layer = 0;  // of the directories, the first one that has it
  std::optional<SourceFile> subject;
  std::optional<SourceFile> text;
  std::optional<SourceFile> html;
};

struct TemplateFiles {
  std::string directory;
  std::optional<SourceFile> manifest;
  std::map<std::string, LocaleFiles> locales;  // by locale_key()
};

struct FileTree {
  std::map<std::string, TemplateFiles> templates;
  Partials partials;
};

// Lower case, "-" for "_"; empty for what is no language tag (RFC 5646 in shape: parts of 1 to 8 letters and
// digits).
[[nodiscard]] std::string locale_key(std::string_view locale);

// As TemplateSet::load() says. Files must be UTF-8 of at most 64 KiB without controls; CRLF becomes LF and a
// byte order mark goes. Names that start with a dot, and other files than those above, are passed over.
[[nodiscard]] core::Result<FileTree> read_template_files(const std::vector<std::string>& directories);

}  // namespace mailotp::mail
