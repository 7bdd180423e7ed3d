// No statement may scan a table that grows, or sort one but in an index.
#include <catch2/catch.hpp>

#include "store/statements.h"
#include "tests/store/database.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

namespace {

// These have a row for each key of the key file, each name of a total, each relay and each app of the
// configuration, or a hundred for each of those.
bool is_small(const std::string& table) {
  return table == "key" || table == "counter" || table == "relay" || table == "relay_use" ||
         table == "clock" || table == "brake";
}

std::string first_word(const std::string& text) {
  return text.substr(0, text.find(' '));
}

template <std::size_t count>
void check_plans(Database& db, const std::array<NamedSql, count>& statements) {
  for (const NamedSql& sql : statements) {
    for (const std::string& row : db.rows("EXPLAIN QUERY PLAN " + std::string(sql.text))) {
      const std::string plan = row.substr(row.rfind('|') + 1);
      CAPTURE(sql.name, plan);
      if (plan.starts_with("SCAN ")) {
        const std::string table = first_word(plan.substr(5));
        // A subquery's rows were searched for by a plan of their own.
        CHECK((is_small(table) || table.starts_with("(subquery") || table == "CONSTANT"));
      }
      CHECK(plan.find("AUTOMATIC") == std::string::npos);
    }
  }
}

}  // namespace

TEST_CASE("no statement of the writer scans a table that grows") {
  StoreFixture f;
  Database db(f.database_path());
  check_plans(db, k_writer_sql);
}

TEST_CASE("no statement of the reader scans a table that grows") {
  StoreFixture f;
  Database db(f.database_path());
  check_plans(db, k_reader_sql);
}

// The suppressions of one recipient are a few: apps times classes.
TEST_CASE("only the list of a state that has few is sorted, and that in the index alone") {
  StoreFixture f;
  Database db(f.database_path());
  const auto sorts = [&](const NamedSql& sql) {
    for (const std::string& row : db.rows("EXPLAIN QUERY PLAN " + std::string(sql.text))) {
      if (row.find("TEMP B-TREE FOR ORDER BY") != std::string::npos) return true;
    }
    return false;
  };
  for (const NamedSql& sql : k_writer_sql) {
    CAPTURE(sql.name);
    CHECK_FALSE(sorts(sql));
  }
  for (const NamedSql& sql : k_reader_sql) {
    CAPTURE(sql.name);
    CHECK(sorts(sql) == (sql.name == "outbox_of_state" || sql.name == "suppressions_of_recipient"));
  }
}

}  // namespace mailotp::store::test
