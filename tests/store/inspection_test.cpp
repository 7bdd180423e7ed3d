// A state folder looked at from outside: what is said, and that nothing is changed.
#include "store/inspection.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>

#include <catch2/catch.hpp>
#include <unistd.h>

#include "store/lock.h"
#include "store/migrations.h"
#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using core::Errc;

namespace {

std::set<std::string> files_of(const StoreFixture& f) {
  std::set<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(f.folder.path()))
    out.insert(entry.path().filename().string() + " " + std::to_string(entry.file_size()));
  return out;
}

core::Result<Inspection> inspected(const StoreFixture& f, FolderUse use = FolderUse::unused) {
  const auto before = files_of(f);
  auto out = inspect(f.folder.path(), use);
  CHECK(files_of(f) == before);
  return out;
}

Errc code_of(const core::Result<Inspection>& seen) {
  REQUIRE_FALSE(seen);
  return seen.error().code;
}

void write_lock(const StoreFixture& f, const std::string& text) {
  std::ofstream(f.folder.path() + "/mailotpd.lock") << text;
}

}  // namespace

TEST_CASE("a folder is unused, or was left open; a pid that is no mailotpd's runs nothing") {
  StoreFixture f;
  f.close();
  CHECK(look_at_folder(f.folder.path())->use == FolderUse::unused);
  write_lock(f, std::to_string(::getpid()) + "\nopen\n");  // this process has another name
  CHECK(look_at_folder(f.folder.path())->use == FolderUse::left_open);
  write_lock(f, "\n");
  CHECK(look_at_folder(f.folder.path())->use == FolderUse::unused);
  CHECK(look_at_folder(f.folder.path() + "/none")->use == FolderUse::unused);
}

TEST_CASE("a database at rest is looked through, and what is needed of the keys is told") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  f.close();
  const auto seen = inspected(f);
  REQUIRE(seen);
  CHECK(seen->checked);
  CHECK(seen->schema == static_cast<std::int64_t>(migrations().size()));
  CHECK(seen->keys_needed == std::vector{format_key_id(key_ring({'k'}).writing())});
  f.open();
  CHECK(f.view(made.id).state == core::ChallengeState::otp_sent);
}

TEST_CASE("beside a daemon that writes, what it has committed is seen") {
  StoreFixture f;
  f.created();
  const auto seen = inspected(f, FolderUse::running);
  REQUIRE(seen);
  CHECK(seen->checked);
  CHECK(seen->keys_needed.size() == 1);
}

TEST_CASE("with a log that is to be read first, only the schema is told") {
  StoreFixture f;
  f.created();
  // As a death leaves it: the log beside the database, and nobody there.
  TemporaryFolder left;
  for (const char* name : {"/mailotpd.db", "/mailotpd.db-wal", "/mailotpd.lock"})
    std::filesystem::copy_file(f.folder.path() + name, left.path() + name);
  const auto look = look_at_folder(left.path());
  REQUIRE(look);
  CHECK(look->use == FolderUse::left_open);
  const auto seen = inspect(left.path(), look->use);
  REQUIRE(seen);
  CHECK_FALSE(seen->checked);
  CHECK_FALSE(std::filesystem::exists(left.path() + "/mailotpd.db-shm"));
  std::filesystem::remove(left.path() + "/mailotpd.db-wal");
  CHECK(code_of(inspect(left.path(), look->use)) == Errc::corrupt);
}

TEST_CASE("what is no database of ours is told apart") {
  StoreFixture f;
  f.close();
  SECTION("none") {
    std::filesystem::remove(f.database_path());
    CHECK(code_of(inspected(f)) == Errc::not_found);
  }
  SECTION("another program's") {
    Database(f.database_path()).run("PRAGMA application_id = 1");
    CHECK(code_of(inspected(f)) == Errc::invalid);
  }
  SECTION("a newer one") {
    Database(f.database_path()).run("PRAGMA user_version = 999");
    CHECK(code_of(inspected(f)) == Errc::unsupported);
  }
  SECTION("an older one") {
    Database(f.database_path()).run("PRAGMA user_version = 1");
    const auto seen = inspected(f);
    REQUIRE(seen);
    CHECK(seen->schema == 1);
    CHECK(seen->keys_needed.empty());
  }
  SECTION("not one at all") {
    std::ofstream(f.database_path()) << std::string(8192, 'x');
    CHECK(code_of(inspected(f)) == Errc::corrupt);
  }
  SECTION("a damaged page") {
    const auto size = std::stoul(Database(f.database_path()).value("PRAGMA page_size"));
    const auto pages = std::filesystem::file_size(f.database_path()) / size;
    std::fstream file(f.database_path(), std::ios::in | std::ios::out | std::ios::binary);
    for (std::uintmax_t page = 2; page < pages; ++page) {
      file.seekp(static_cast<std::streamoff>(page * size));
      file << std::string(64, '\xff');
    }
    file.close();
    CHECK(code_of(inspected(f)) == Errc::corrupt);
  }
}

TEST_CASE("a path that a URI would read otherwise is taken as it is") {
  StoreFixture f;
  f.close();
  const std::string odd = f.folder.path() + "/a?b#c%41";
  std::filesystem::create_directory(odd);
  std::filesystem::copy_file(f.database_path(), odd + "/mailotpd.db");
  const auto seen = inspect(odd, FolderUse::unused);
  REQUIRE(seen);
  CHECK(seen->checked);
}

}  // namespace mailotp::store::test
