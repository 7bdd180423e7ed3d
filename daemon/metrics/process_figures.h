// What the process uses, from the kernel. Reads /proc: for the reader's thread.
#pragma once

#include <cstdint>
#include <optional>

namespace mailotp::daemon {

struct ProcessFigures {
  double cpu_seconds = 0;  // user and system
  std::optional<std::int64_t> resident_bytes;
  std::optional<std::int64_t> open_descriptors;
};

// What /proc does not tell is absent.
[[nodiscard]] ProcessFigures process_figures();

}  // namespace mailotp::daemon
