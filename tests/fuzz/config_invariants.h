// What holds for every text that is given as a configuration. Ends the process with a line about what does
// not hold.
#pragma once

#include <string_view>

namespace mailotp::fuzz {

void check_config(std::string_view text);

}  // namespace mailotp::fuzz
