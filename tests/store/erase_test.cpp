// Codes and bodies are never in the files in the clear, and gone from the rows when their time has ended.
#include <fstream>
#include <sstream>

#include <catch2/catch.hpp>

#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using namespace std::chrono_literals;

namespace {

std::string bytes_of_file(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return out.str();
}

// In the database, its log or the log's index.
bool on_disk(const StoreFixture& f, const std::string& bytes) {
  for (const char* suffix : {"", "-wal", "-shm"}) {
    if (bytes_of_file(f.database_path() + suffix).find(bytes) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("neither code, body, data nor binding is ever on the disk in the clear") {
  StoreFixture f;
  core::CreateChallenge command = f.create_command();
  command.binding = core::Secret(R"({"session":"BINDING-MARKER"})");
  command.variables = core::Secret(R"({"name":"VARIABLE-MARKER"})");
  const core::ChallengeView made = f.challenge_answer(std::move(command)).challenge;
  const auto jobs = f.claim();
  const auto clean = [&] {
    CHECK(on_disk(f, "alice@example.org"));  // the search finds what is there
    CHECK_FALSE(on_disk(f, f.last_code));
    CHECK_FALSE(on_disk(f, k_body_marker));
    CHECK_FALSE(on_disk(f, "VARIABLE-MARKER"));
    CHECK_FALSE(on_disk(f, "BINDING-MARKER"));
  };
  clean();
  core::CheckCode wrong = f.check_command(made.id, "WRONGCODE1");
  wrong.binding = core::Secret(R"({"session":"BINDING-MARKER"})");
  (void)f.check_answer(std::move(wrong));
  CHECK_FALSE(on_disk(f, "WRONGCODE1"));
  f.now += 30s;
  (void)f.challenge_answer(f.send_command(made.id));
  clean();
  f.done(f.fact(core::JobRelayed{jobs[0].key, {250, "", "ok"}}));
  REQUIRE(f.store->rest());
  clean();
}

TEST_CASE("the end of a challenge takes its secrets out of the file, sealed as they were") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  Database db(f.database_path());
  const auto raw = [&](const char* column) {
    const std::string hex = db.value(std::string("SELECT hex(") + column + ") FROM challenge");
    std::string out;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
      out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    return out;
  };
  const std::string mac = raw("code_mac");
  const std::string kept = raw("kept_code");
  const std::string data = raw("data");
  REQUIRE(mac.size() == 32);
  REQUIRE(kept.size() == 38);
  REQUIRE(on_disk(f, mac));
  SECTION("valid") {
    (void)f.check_answer(f.check_command(made.id, f.last_code));
  }
  SECTION("canceled") {
    (void)f.challenge_answer(f.cancel_command(made.id));
  }
  SECTION("expired") {
    f.now = made.expires_at;
    f.done(core::Sweep{f.now});
  }
  SECTION("exhausted") {
    for (int i = 0; i < 5; ++i)
      (void)f.check_answer(f.check_command(made.id, "0000000000"));
  }
  CHECK(db.value("SELECT key IS NULL AND code_mac IS NULL AND binding_mac IS NULL AND kept_code IS NULL AND "
                 "data IS NULL FROM challenge") == "1");
  CHECK(db.value("SELECT count(*) FROM message_body") == "0");
  f.close();
  for (const std::string& secret : {mac, kept, data})
    CHECK_FALSE(on_disk(f, secret));
}

TEST_CASE("the end of a message takes its body in the same transaction") {
  StoreFixture f;
  (void)f.created();
  Database db(f.database_path());
  CHECK(db.value("SELECT count(*) FROM message_body") == "1");
  const auto jobs = f.claim();
  CHECK(db.value("SELECT count(*) FROM message_body") == "1");
  f.done(f.fact(core::JobRelayed{jobs[0].key, {250, "", "ok"}}));
  CHECK(db.value("SELECT count(*) FROM message_body") == "0");
}

TEST_CASE("no event holds a code or a body") {
  StoreFixture f;
  const core::ChallengeView made = f.created();
  (void)f.check_answer(f.check_command(made.id, "AAAAABBBBB"));
  (void)f.check_answer(f.check_command(made.id, f.last_code));
  Database db(f.database_path());
  for (const std::string& row : db.rows("SELECT * FROM event")) {
    CHECK(row.find(f.last_code) == std::string::npos);
    CHECK(row.find("AAAAABBBBB") == std::string::npos);
    CHECK(row.find(k_body_marker) == std::string::npos);
  }
}

}  // namespace mailotp::store::test
