// What holds for every body of a request, whichever call it is for. Ends the process with a line about what
// does not hold.
#pragma once

#include <string_view>

namespace mailotp::fuzz {

// Gives the bytes to every reader of bodies. If they are an object, then also with each secret in it
// replaced, twice: what is said of a body must not depend on a secret.
void check_json(std::string_view body);

}  // namespace mailotp::fuzz
