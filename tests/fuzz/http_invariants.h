// What holds for every sequence of bytes that a client can send. Ends the process with a line about what does
// not hold.
#pragma once

#include <string_view>

namespace mailotp::fuzz {

// The first byte chooses where the rest is split, and the limits: a lower-case letter the daemon's own, a
// capital narrow ones that short inputs reach.
void check_http(std::string_view input);

}  // namespace mailotp::fuzz
