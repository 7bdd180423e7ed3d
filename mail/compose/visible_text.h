// What a person, or autofill, sees of a mail: for the lint only. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mailotp::mail {

// HTML without comments, style, script and tags. A tag that starts a new block or cell becomes a line end,
// any other vanishes; an entity becomes "?".
[[nodiscard]] std::string visible_text(std::string_view html);

// Every number that could be taken for a code: 4 to 12 digits in one piece, or in groups of two or more
// joined by single blanks or hyphens ("123 456").
[[nodiscard]] std::vector<std::string> code_like_numbers(std::string_view text);

}  // namespace mailotp::mail
