// The key file: one key a line as 64 lower-case hexadecimal digits; `#` comments and blank lines are allowed.
// The first key writes, all of them read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/secret.h"

namespace mailotp::store {

inline constexpr std::size_t k_master_key_size = 32;  // bytes

// At least one key of k_master_key_size bytes, in the order of the lines. Errc::malformed names the line,
// never what is in it.
[[nodiscard]] core::Result<std::vector<core::Secret>> parse_key_file(std::string_view text);
// Whose file it is. systemd lets the service read a credential by an access list, whose mask shows as the
// right of the group.
enum class KeyKeeper : std::uint8_t { its_owner, systemd };
// Errc::invalid for a file that its group or others can access, or that is no regular file; Errc::io when it
// cannot be read; else as parse_key_file, with the path.
[[nodiscard]] core::Result<std::vector<core::Secret>> load_key_file(const std::string& path,
                                                                    KeyKeeper keeper = KeyKeeper::its_owner);

}  // namespace mailotp::store
