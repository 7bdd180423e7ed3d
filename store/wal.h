// The write-ahead log: when it is moved into the database, and how large it may grow. SQLite's automatic
// checkpoint is off: it would run inside some unlucky commit (5-20 ms).
#pragma once

#include <cstdint>

#include "core/result.h"
#include "store/sqlite.h"

namespace mailotp::store {

class Wal {
 public:
  // Counts the commits of this connection from here on.
  explicit Wal(sqlite3* db);

  // In an idle moment: what is in the log goes into the database; now and then the log's file is emptied as
  // well.
  [[nodiscard]] core::Result<> rest();
  // After each commit: under a load that leaves no idle moment the checkpoint comes here, once in thousands
  // of pages. Its failure is no error of the commit, which is durable in the log; but after Errc::io the log
  // must not be started anew.
  // A step of sweep or purge that nobody has joined moves less at once: requests may come meanwhile, and
  // steps that follow one another leave no idle moment either.
  enum class After : std::uint8_t { requests, step_alone };
  [[nodiscard]] core::Result<> bound(After after);
  // Everything into the database and the file to nothing. With a reader in the way that is left for another
  // time.
  [[nodiscard]] core::Result<> empty();

 private:
  // Written by SQLite's hook, so it stays where it is when this object is moved.
  struct Log {
    int pages = 0;
    std::uint64_t commits = 0;
  };
  static int committed(void* log, sqlite3* db, const char* name, int pages) noexcept;
  [[nodiscard]] core::Result<> checkpoint(int mode);

  sqlite3* db_;
  std::unique_ptr<Log> log_;
  std::uint64_t rested_ = 0;  // commits at the last rest
  std::int64_t moved_ = 0;    // pages, about, since the file was last emptied
  int seen_ = 0;              // pages at the last call of bound()
  int left_at_ = 0;           // pages when bound() acted last
};

}  // namespace mailotp::store
