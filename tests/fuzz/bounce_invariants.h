// What holds for every mail, whatever its bytes: checked by the fuzz targets and by the unit tests that
// replay their corpus. Each ends the process with a line about what does not hold.
#pragma once

#include <string_view>

namespace mailotp::fuzz {

void check_scan(std::string_view bytes);
void check_parse(std::string_view bytes);

}  // namespace mailotp::fuzz
