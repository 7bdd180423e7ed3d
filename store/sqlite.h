// A thin owner of SQLite's handles: every return code becomes a Result. Only the .cpp files of store/ include
// this header; nobody else sees SQLite.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <sqlite3.h>

#include "core/id.h"
#include "core/result.h"
#include "core/time.h"

namespace mailotp::store {

inline constexpr int k_busy_timeout_ms = 5000;  // for a lock of another process

template <class T, auto close>
struct Closer {
  // Both closers return the error of the last use, which was reported when it happened.
  void operator()(T* handle) const noexcept { (void)close(handle); }
};
template <class T, auto close>
using Handle = std::unique_ptr<T, Closer<T, close>>;
using DatabasePtr = Handle<sqlite3, sqlite3_close>;
using StatementPtr = Handle<sqlite3_stmt, sqlite3_finalize>;

// A statement's text and the name under which errors and the test of the plans know it.
struct NamedSql {
  std::string_view name;
  const char* text;
};

// no_space, io, busy, corrupt or unavailable (read-only) after the result code; a violated constraint is
// internal.
[[nodiscard]] core::Error sqlite_error(sqlite3* db, int code, std::string_view doing);

// Bytes for a BLOB column; NULL when there are none.
struct Blob {
  std::string_view bytes;
};
// Text for a column that is NULL instead of empty.
struct TextOrNull {
  std::string_view text;
};

class Statement;

// The rows of one execution. Ends it when destroyed.
class Rows {
 public:
  Rows(sqlite3* db, sqlite3_stmt* statement, std::string_view name, int bound)
      : db_(db), statement_(statement), name_(name), bound_(bound) {}
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;
  ~Rows();

  // True: a row is there to be read. False: that was all.
  [[nodiscard]] core::Result<bool> next();
  // For a statement without rows.
  [[nodiscard]] core::Result<> finish();

  // Columns of the current row, from 0. What a view points to is valid until next().
  [[nodiscard]] bool is_null(int column) const;
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] std::string_view text(int column) const;
  [[nodiscard]] std::string_view blob(int column) const;
  [[nodiscard]] core::WallTime time(int column) const;
  [[nodiscard]] std::optional<core::Id> id(int column) const;  // absent: NULL, or not of 16 bytes

 private:
  sqlite3* db_;
  sqlite3_stmt* statement_;
  std::string_view name_;
  int bound_;
};

// Prepared once and kept. One execution at a time.
class Statement {
 public:
  Statement() = default;
  [[nodiscard]] static core::Result<Statement> prepare(sqlite3* db, const NamedSql& sql);

  // The arguments, in the order of the placeholders, are copied.
  template <class... Args>
  [[nodiscard]] Rows select(const Args&... args) {
    return Rows(db_, statement_.get(), name_, bind(SQLITE_TRANSIENT, args...));
  }
  // Runs to the end; the arguments need to live for the call only.
  template <class... Args>
  [[nodiscard]] core::Result<> run(const Args&... args) {
    return Rows(db_, statement_.get(), name_, bind(SQLITE_STATIC, args...)).finish();
  }

 private:
  template <class... Args>
  int bind([[maybe_unused]] sqlite3_destructor_type life, const Args&... args) {
    int at = 0;
    int code = SQLITE_OK;
    ((code = code == SQLITE_OK ? bind_one(++at, life, args) : code), ...);
    return code;
  }
  int bind_one(int at, sqlite3_destructor_type life, std::int64_t value);
  int bind_one(int at, sqlite3_destructor_type life, int value);
  int bind_one(int at, sqlite3_destructor_type life, std::uint32_t value);
  int bind_one(int at, sqlite3_destructor_type life, std::uint64_t value);
  int bind_one(int at, sqlite3_destructor_type life, core::WallTime value);
  int bind_one(int at, sqlite3_destructor_type life, std::string_view value);
  int bind_one(int at, sqlite3_destructor_type life, const std::string& value);
  int bind_one(int at, sqlite3_destructor_type life, const TextOrNull& value);
  int bind_one(int at, sqlite3_destructor_type life, const Blob& value);
  int bind_one(int at, sqlite3_destructor_type life, const core::Id& value);
  template <class T>
  int bind_one(int at, sqlite3_destructor_type life, const std::optional<T>& value) {
    return value ? bind_one(at, life, *value) : sqlite3_bind_null(statement_.get(), at);
  }

  sqlite3* db_ = nullptr;
  StatementPtr statement_;
  std::string_view name_;
};

class Connection {
 public:
  // at_rest: for a database that nobody writes to; no file is made beside it, its log is not read.
  enum class Access { read_write, read_only, at_rest };
  // A missing file is made for read_write, with mode 0600. Waits k_busy_timeout_ms at most for another
  // process.
  [[nodiscard]] static core::Result<Connection> open(const std::string& path, Access access);

  // Pragmas and migrations: may hold several statements; rows are passed over.
  [[nodiscard]] core::Result<> exec(const char* sql);
  // The first column of the only row.
  [[nodiscard]] core::Result<std::int64_t> number(const char* sql);
  // Rows that the last statement inserted, changed or deleted.
  [[nodiscard]] int changed() const { return sqlite3_changes(db_.get()); }
  [[nodiscard]] std::int64_t last_rowid() const { return sqlite3_last_insert_rowid(db_.get()); }
  [[nodiscard]] bool in_transaction() const { return sqlite3_get_autocommit(db_.get()) == 0; }
  // The log stays when the connection is closed, with what is in it; or it is moved into the database and
  // removed, which is SQLite's own way.
  [[nodiscard]] core::Result<> keep_log_on_close();
  void remove_log_on_close();
  [[nodiscard]] sqlite3* raw() const { return db_.get(); }

 private:
  explicit Connection(DatabasePtr db) : db_(std::move(db)) {}
  DatabasePtr db_;
};

// All statements of a table of them, by their enum.
template <class Name, std::size_t count>
class Prepared {
 public:
  [[nodiscard]] static core::Result<Prepared> prepare(const Connection& db,
                                                      const std::array<NamedSql, count>& texts) {
    Prepared out;
    for (std::size_t i = 0; i < count; ++i) {
      auto statement = Statement::prepare(db.raw(), texts[i]);
      if (!statement) return tl::unexpected(statement.error());
      out.statements_[i] = *std::move(statement);
    }
    return out;
  }
  [[nodiscard]] Statement& operator[](Name name) { return statements_[static_cast<std::size_t>(name)]; }

 private:
  std::array<Statement, count> statements_;
};

}  // namespace mailotp::store
