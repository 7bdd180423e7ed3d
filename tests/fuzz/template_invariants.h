// What holds for every template, and for every mail that is made of one. Ends the process with a line about
// what does not hold.
#pragma once

#include <string_view>

namespace mailotp::fuzz {

// Several files in one, each under a line "==> NAME": template.toml, subject.mustache, text.mustache,
// html.mustache, _partials/NAME.mustache. Bytes that no file of a template can have become others.
void check_template(std::string_view input);

}  // namespace mailotp::fuzz
