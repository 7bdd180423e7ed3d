// A look at the database file from beside the store, with a connection of the test's own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <sqlite3.h>

namespace mailotp::store::test {

class Database {
 public:
  explicit Database(const std::string& path);

  // Each row as text, the columns separated by '|'; blobs in hexadecimal.
  std::vector<std::string> rows(const std::string& sql);
  std::string value(const std::string& sql);
  void run(const std::string& sql);
  // Every row of every table.
  std::string dump();

 private:
  struct Close {
    void operator()(sqlite3* db) const { sqlite3_close(db); }
  };
  std::unique_ptr<sqlite3, Close> db_;
};

}  // namespace mailotp::store::test
