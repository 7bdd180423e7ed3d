// Makes a key file: one key a line as 64 lower-case hex digits, '#' begins a comment line; the first key
// writes, all of them read.
#pragma once

#include <string>

#include "ctl/exit_code.h"

namespace mailotp::ctl {

// Creates `path` with a new key of 32 bytes from the kernel, mode 0600, synced to the disk with its folder.
// An existing file is refused and not touched. The key is never shown.
[[nodiscard]] Attempt<void> make_key_file(const std::string& path);

}  // namespace mailotp::ctl
