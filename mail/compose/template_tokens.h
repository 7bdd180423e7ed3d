// Mustache sources as a flat list of tokens, checked: the strict half of our templates. kainjow's parser
// takes nearly anything and blanks what it does not know, so nothing reaches it that has not passed here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace mailotp::mail {

struct SourceFile {
  std::string path;       // for errors
  std::string text;       // UTF-8, lines end in LF
  std::size_t layer = 0;  // which of the directories it is from
};
using Partials = std::map<std::string, SourceFile, std::less<>>;

enum class TokenKind : std::uint8_t { text, variable, section, inverted, close, partial };

struct Token {
  TokenKind kind = TokenKind::text;
  std::string value;      // the text, or the name in the tag
  std::string at;         // "path:line"
  bool own_line = false;  // a partial that stands alone on its line
};

// Letters, digits and "_", from a letter on: what a template may declare.
[[nodiscard]] bool is_variable_name(std::string_view name);

// One file. Lines that hold nothing but a section, comment or partial tag leave no line behind, as the
// Mustache specification says. Errc::invalid, with "path:line: ", for: a tag that does not end, {{{x}}} and
// {{&x}} (they would switch escaping off), {{=x=}}, a name that is none, a section that is not closed, or by
// another name.
[[nodiscard]] core::Result<std::vector<Token>> scan(const SourceFile& source);

// scan() with the partials put in, to a depth of 8; `used` gets their names. A partial in the middle of a
// line comes without its last line end, so that it can be a few words. Errc::invalid for an unknown partial,
// for partials that nest deeper, as those that include themselves do, for more than 64 sections in each
// other, and for more than 10,000 tokens or 256 KiB with the partials.
[[nodiscard]] core::Result<std::vector<Token>> expand(const SourceFile& source, const Partials& partials,
                                                      std::set<std::string>& used);

}  // namespace mailotp::mail
