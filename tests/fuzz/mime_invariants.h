// What holds for every mail that is written of a subject and two bodies. Ends the process with a line about
// what does not hold.
#pragma once

#include <string_view>

namespace mailotp::fuzz {

// UTF-8 without CR and NUL; the subject one line without controls.
void check_mime(std::string_view subject, std::string_view text, std::string_view html);

}  // namespace mailotp::fuzz
