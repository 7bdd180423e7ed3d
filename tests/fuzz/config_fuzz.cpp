#include <cstddef>
#include <cstdint>

#include "tests/fuzz/config_invariants.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  mailotp::fuzz::check_config({reinterpret_cast<const char*>(bytes), size});
  return 0;
}
