#include <cstddef>
#include <cstdint>

#include "tests/fuzz/template_invariants.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  mailotp::fuzz::check_template({reinterpret_cast<const char*>(bytes), size});
  return 0;
}
