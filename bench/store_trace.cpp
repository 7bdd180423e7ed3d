#include "bench/store_trace.h"

#include <utility>

#include <sqlite3.h>

#include "store/statements.h"

namespace mailotp::bench {

namespace {

// SQLite calls plain functions.
std::map<std::string, int> writes;

std::string name_of(std::string_view text) {
  for (const store::NamedSql& sql : store::k_writer_sql) {
    if (sql.text == text) return std::string(sql.name);
  }
  return std::string(text);
}

int count(unsigned, void*, void* statement, void*) {
  auto* run = static_cast<sqlite3_stmt*>(statement);
  if (sqlite3_stmt_readonly(run) == 0) ++writes[name_of(sqlite3_sql(run))];
  return 0;
}

int watch(sqlite3* db, char**, const sqlite3_api_routines*) {
  return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, count, nullptr);
}

// As SQLite wants it: its entry points have no arguments.
void (*entry())() {
  return reinterpret_cast<void (*)()>(watch);
}

}  // namespace

TracedStatements::TracedStatements() {
  (void)sqlite3_auto_extension(entry());  // fails for want of memory only
}

TracedStatements::~TracedStatements() {
  (void)sqlite3_cancel_auto_extension(entry());
}

std::map<std::string, int> TracedStatements::take_writes() {
  return std::exchange(writes, {});
}

}  // namespace mailotp::bench
