#include "core/snapshot.h"

namespace mailotp::core {

namespace {

constexpr std::string_view k_magic("SQLite format 3\0", 16);
constexpr std::size_t k_page_size = 16;
constexpr std::size_t k_write_version = 18;
constexpr std::size_t k_pages = 28;
constexpr std::size_t k_application_id = 68;
constexpr std::uint32_t k_largest_page = 65536;  // does not fit, so 1 stands for it

// Big-endian.
std::uint32_t number(std::string_view bytes) {
  std::uint32_t out = 0;
  for (const char byte : bytes)
    out = out << 8U | static_cast<unsigned char>(byte);
  return out;
}

}  // namespace

Result<DatabaseHeader> read_database_header(std::string_view first) {
  if (first.size() < k_database_header || !first.starts_with(k_magic))
    return fail(Errc::malformed, "is no database of SQLite");
  const std::uint32_t size = number(first.substr(k_page_size, 2));
  DatabaseHeader out;
  out.application_id = number(first.substr(k_application_id, 4));
  out.bytes = std::uint64_t{size == 1 ? k_largest_page : size} * number(first.substr(k_pages, 4));
  out.may_have_log = first[k_write_version] != 1;
  return out;
}

}  // namespace mailotp::core
