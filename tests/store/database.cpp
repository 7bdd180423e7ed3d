#include "tests/store/database.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

namespace mailotp::store::test {

namespace {

std::string cell(sqlite3_stmt* statement, int column) {
  if (sqlite3_column_type(statement, column) == SQLITE_NULL) return "NULL";
  if (sqlite3_column_type(statement, column) != SQLITE_BLOB)
    return reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
  const auto* bytes = static_cast<const unsigned char*>(sqlite3_column_blob(statement, column));
  std::string out;
  for (int i = 0; i < sqlite3_column_bytes(statement, column); ++i)
    out += fmt::format("{:02x}", bytes[i]);
  return out;
}

}  // namespace

Database::Database(const std::string& path) {
  sqlite3* raw = nullptr;
  REQUIRE(sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE, nullptr) == SQLITE_OK);
  db_.reset(raw);
}

std::vector<std::string> Database::rows(const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  INFO(sql);
  REQUIRE(sqlite3_prepare_v2(db_.get(), sql.c_str(), -1, &statement, nullptr) == SQLITE_OK);
  std::vector<std::string> out;
  int code = sqlite3_step(statement);
  for (; code == SQLITE_ROW; code = sqlite3_step(statement)) {
    std::string row;
    for (int i = 0; i < sqlite3_column_count(statement); ++i)
      row += (i == 0 ? "" : "|") + cell(statement, i);
    out.push_back(std::move(row));
  }
  sqlite3_finalize(statement);
  REQUIRE(code == SQLITE_DONE);
  return out;
}

std::string Database::value(const std::string& sql) {
  const auto found = rows(sql);
  REQUIRE(found.size() == 1);
  return found[0];
}

void Database::run(const std::string& sql) {
  INFO(sql);
  REQUIRE(sqlite3_exec(db_.get(), sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
}

std::string Database::dump() {
  std::string out;
  for (const std::string& table : rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")) {
    out += table + "\n";
    for (const std::string& row : rows("SELECT * FROM " + table))
      out += "  " + row + "\n";
  }
  return out;
}

}  // namespace mailotp::store::test
