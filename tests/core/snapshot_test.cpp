// The header of a database, byte by byte.
#include "core/snapshot.h"

#include <string>

#include <catch2/catch.hpp>

namespace mailotp::core {
namespace {

// 4096-byte pages, 7 of them, a snapshot that was never opened.
std::string header() {
  std::string out(k_database_header, '\0');
  out.replace(0, 16, std::string("SQLite format 3\0", 16));
  out[16] = 0x10;
  out[18] = out[19] = 1;
  out[31] = 7;
  out.replace(68, 4, "mots");
  return out;
}

TEST_CASE("the header of a snapshot is read") {
  const auto read = read_database_header(header() + "what follows");
  REQUIRE(read);
  CHECK(read->application_id == k_snapshot_id);
  CHECK(read->bytes == 7 * 4096);
  CHECK_FALSE(read->may_have_log);
}

TEST_CASE("a database in use is told from a snapshot") {
  std::string in_use = header();
  in_use[71] = 'p';
  in_use[18] = 2;
  CHECK(read_database_header(in_use)->application_id == k_database_id);
  CHECK(read_database_header(in_use)->may_have_log);
}

TEST_CASE("pages of 64 KiB, and more of them than 32 bits can say in bytes") {
  std::string large = header();
  large[16] = 0;
  large[17] = 1;
  large.replace(28, 4, "\xff\xff\xff\xfe");
  CHECK(read_database_header(large)->bytes == 0xfffffffeULL * 65536);
}

TEST_CASE("what is no database, or too short to be one, is refused") {
  const std::string whole = header();
  for (std::size_t size = 0; size < whole.size(); ++size)
    CHECK(read_database_header(whole.substr(0, size)).error().code == Errc::malformed);
  for (std::size_t at = 0; at < 16; ++at) {
    std::string other = whole;
    other[at] = '?';
    CHECK_FALSE(read_database_header(other));
  }
}

}  // namespace
}  // namespace mailotp::core
