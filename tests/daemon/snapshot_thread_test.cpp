// The backup's thread against a database of its own: what it takes, and how it is told to stop.
#include "daemon/state/snapshot_thread.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <catch2/catch.hpp>
#include <sqlite3.h>
#include <uv.h>

using namespace mailotp;

namespace {

class Folder {
 public:
  // A database with so many rows.
  explicit Folder(int rows) {
    REQUIRE(::mkdtemp(path_.data()) != nullptr);
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open((path_ + "/mailotpd.db").c_str(), &db) == SQLITE_OK);
    const std::string sql =
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE t (a INTEGER PRIMARY KEY, b "
        "TEXT); WITH "
        "RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " +
        std::to_string(rows) + ") INSERT INTO t SELECT i, hex(randomblob(40)) FROM n";
    REQUIRE(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
    REQUIRE(sqlite3_close(db) == SQLITE_OK);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/mailotp-snapshot-XXXXXX";
};

struct Loop {
  Loop() { REQUIRE(uv_loop_init(&loop) == 0); }
  ~Loop() {
    (void)uv_run(&loop, UV_RUN_DEFAULT);  // the close callbacks
    CHECK(uv_loop_close(&loop) == 0);
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  bool until(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{60};
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
    return true;
  }
  uv_loop_t loop{};
};

using Size = core::Result<std::uint64_t>;

TEST_CASE("a snapshot is taken, read in pieces and let go of, again and again") {
  const Folder folder(2000);
  Loop loop;
  daemon::SnapshotThread thread(&loop.loop, folder.path());
  for (int round = 0; round < 3; ++round) {
    std::optional<Size> size;
    thread.take(0, [&](Size taken) { size = std::move(taken); });
    REQUIRE(loop.until([&] { return size.has_value(); }));
    REQUIRE(*size);
    std::string all;
    bool end = false;
    const std::function<void(core::Result<std::string>)> go_on = [&](core::Result<std::string> piece) {
      REQUIRE(piece);
      all += *piece;
      if (piece->empty()) {
        end = true;
        return;
      }
      thread.read(all.size(), 10'000, go_on);
    };
    thread.read(0, 10'000, go_on);
    REQUIRE(loop.until([&] { return end; }));
    CHECK(all.size() == **size);
    CHECK(all.starts_with("SQLite format 3"));
    thread.drop();
    std::optional<core::Result<std::string>> gone;
    thread.read(0, 1, [&](core::Result<std::string> piece) { gone = std::move(piece); });
    REQUIRE(loop.until([&] { return gone.has_value(); }));
    CHECK_FALSE(*gone);
  }
}

TEST_CASE("what follows a snapshot that is being taken ends it, and another one can be taken") {
  const Folder folder(100'000);
  Loop loop;
  daemon::SnapshotThread thread(&loop.loop, folder.path());
  // It may be done before it is told to end, on a machine that is slow here and fast there.
  bool ended = false;
  for (int attempt = 0; attempt < 100 && !ended; ++attempt) {
    std::optional<Size> size;
    thread.take(0, [&](Size taken) { size = std::move(taken); });
    thread.drop();
    REQUIRE(loop.until([&] { return size.has_value(); }));
    ended = !*size && size->error().code == core::Errc::unavailable;
  }
  CHECK(ended);
  std::optional<Size> size;
  thread.take(0, [&](Size taken) { size = std::move(taken); });
  REQUIRE(loop.until([&] { return size.has_value(); }));
  CHECK(*size);
}

TEST_CASE("a stop in the middle of a snapshot brings no completion and leaves no file") {
  const Folder folder(100'000);
  Loop loop;
  bool told = false;
  {
    daemon::SnapshotThread thread(&loop.loop, folder.path());
    thread.take(0, [&](const Size&) { told = true; });
    thread.stop();
    thread.take(0, [&](const Size&) { told = true; });
    thread.drop();
    (void)uv_run(&loop.loop, UV_RUN_NOWAIT);
  }
  CHECK_FALSE(told);
  CHECK_FALSE(std::filesystem::exists(folder.path() + "/mailotpd.snapshot"));
}

TEST_CASE("a thread that was never needed is not there, and stops") {
  Loop loop;
  daemon::SnapshotThread thread(&loop.loop, "/nonexistent");
  thread.drop();
  thread.stop();
}

TEST_CASE("a folder without a database is an error") {
  Loop loop;
  daemon::SnapshotThread thread(&loop.loop, "/nonexistent");
  std::optional<Size> size;
  thread.take(0, [&](Size taken) { size = std::move(taken); });
  REQUIRE(loop.until([&] { return size.has_value(); }));
  CHECK_FALSE(*size);
}

}  // namespace
