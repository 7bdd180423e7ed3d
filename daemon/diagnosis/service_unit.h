// What systemd hands to the service as credentials, by the unit's own files: `systemctl cat mailotpd`.
#pragma once

#include <string>
#include <string_view>

namespace mailotp::daemon {

// Whether a unit's text hands it over: LoadCredential=NAME:…, SetCredential=NAME:… and their encrypted kinds.
[[nodiscard]] bool hands_over(std::string_view unit, std::string_view credential);
// Whether the unit or its drop-ins do, where systemd looks for them. Blocking file access.
[[nodiscard]] bool service_hands_over(std::string_view credential);

}  // namespace mailotp::daemon
