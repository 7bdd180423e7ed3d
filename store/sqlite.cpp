#include "store/sqlite.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "store/log_writes.h"

namespace mailotp::store {

using core::Errc;
using core::Result;

namespace {

// What the system said to the last failed write of the database (main) or of its log; 0: nothing yet.
int last_errno(sqlite3* db, bool log) {
  int error = 0;
  sqlite3_file* file = nullptr;
  const int which = log ? SQLITE_FCNTL_JOURNAL_POINTER : SQLITE_FCNTL_FILE_POINTER;
  if (sqlite3_file_control(db, "main", which, &file) != SQLITE_OK) return 0;
  if (file == nullptr || file->pMethods == nullptr) return 0;
  // A file layer that does not know it leaves 0.
  (void)file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &error);
  return error;
}

// SQLite knows a full disk, but neither a used-up quota nor a disk that has become read-only. Both leave what
// was written before as it was, unlike an error of the device.
Errc errc_of_write(sqlite3* db) {
  Errc out = Errc::io;
  for (const bool log : {true, false}) {
    switch (last_errno(db, log)) {
      case 0:
        break;
      case ENOSPC:
      case EDQUOT:
        if (out == Errc::io) out = Errc::no_space;
        break;
      case EROFS:
        out = Errc::unavailable;
        break;
      default:
        return Errc::io;
    }
  }
  return out;
}

Errc errc_of(sqlite3* db, int code) {
  if (db != nullptr && (code == SQLITE_IOERR_WRITE || code == SQLITE_IOERR_TRUNCATE))
    return errc_of_write(db);
  // A page that the disk does not give back is as good as one that it gives back wrong: whoever needs it
  // fails, the others go on.
  if (code == SQLITE_IOERR_READ || code == SQLITE_IOERR_SHORT_READ) return Errc::corrupt;
  switch (code & 0xff) {
    case SQLITE_FULL:
      return Errc::no_space;
    case SQLITE_CANTOPEN:
      return db != nullptr && sqlite3_system_errno(db) == ENOSPC ? Errc::no_space : Errc::io;
    case SQLITE_IOERR:
    case SQLITE_PERM:
      return Errc::io;
    case SQLITE_READONLY:
    case SQLITE_NOMEM:
      return Errc::unavailable;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Errc::busy;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Errc::corrupt;
    default:
      return Errc::internal;
  }
}

// SQLite would make the file with the process's umask; it holds addresses.
Result<> create_private(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    const int error = errno;
    return core::fail(error == ENOSPC || error == EDQUOT ? Errc::no_space : Errc::io,
                      fmt::format("{}: {}", path, std::strerror(error)));
  }
  ::close(fd);
  return {};
}

// Its count of the memory in use, behind a mutex, which nobody reads. Before anything else of SQLite is
// called.
void count_no_memory() {
  static const int once = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  (void)once;  // refused where SQLite is in use already: then it counts
}

}  // namespace

core::Error sqlite_error(sqlite3* db, int code, std::string_view doing) {
  // The message says more than the code, but only when it is about this error.
  const bool own = db != nullptr && (sqlite3_errcode(db) & 0xff) == (code & 0xff);
  return {errc_of(db, code),
          fmt::format("store: {}: {} ({})", doing, own ? sqlite3_errmsg(db) : sqlite3_errstr(code), code)};
}

Rows::~Rows() {
  // Returns the error of the last step, which next() has reported.
  (void)sqlite3_reset(statement_);
  // What was bound by reference must not be reachable any more. Cannot fail.
  (void)sqlite3_clear_bindings(statement_);
}

Result<bool> Rows::next() {
  if (bound_ != SQLITE_OK) return tl::unexpected(sqlite_error(db_, bound_, name_));
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return tl::unexpected(sqlite_error(db_, code, name_));
}

Result<> Rows::finish() {
  for (;;) {
    const auto more = next();
    if (!more) return tl::unexpected(more.error());
    if (!*more) return {};
  }
}

bool Rows::is_null(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

std::int64_t Rows::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

std::string_view Rows::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

std::string_view Rows::blob(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

core::WallTime Rows::time(int column) const {
  return core::from_unix_ms(integer(column));
}

std::optional<core::Id> Rows::id(int column) const {
  const std::string_view bytes = blob(column);
  core::Id id;
  if (bytes.size() != id.bytes.size()) return std::nullopt;
  std::memcpy(id.bytes.data(), bytes.data(), id.bytes.size());
  return id;
}

Result<Statement> Statement::prepare(sqlite3* db, const NamedSql& sql) {
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v3(db, sql.text, -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
  if (code != SQLITE_OK) return tl::unexpected(sqlite_error(db, code, sql.name));
  Statement out;
  out.db_ = db;
  out.statement_.reset(raw);
  out.name_ = sql.name;
  return out;
}

int Statement::bind_one(int at, sqlite3_destructor_type, std::int64_t value) {
  return sqlite3_bind_int64(statement_.get(), at, value);
}
int Statement::bind_one(int at, sqlite3_destructor_type, int value) {
  return sqlite3_bind_int(statement_.get(), at, value);
}
int Statement::bind_one(int at, sqlite3_destructor_type, std::uint32_t value) {
  return sqlite3_bind_int64(statement_.get(), at, value);
}
int Statement::bind_one(int at, sqlite3_destructor_type, std::uint64_t value) {
  return sqlite3_bind_int64(statement_.get(), at, static_cast<std::int64_t>(value));
}
int Statement::bind_one(int at, sqlite3_destructor_type, core::WallTime value) {
  return sqlite3_bind_int64(statement_.get(), at, core::to_unix_ms(value));
}
int Statement::bind_one(int at, sqlite3_destructor_type life, std::string_view value) {
  // A null pointer would be NULL.
  const char* bytes = value.data() == nullptr ? "" : value.data();
  return sqlite3_bind_text64(statement_.get(), at, bytes, value.size(), life, SQLITE_UTF8);
}
int Statement::bind_one(int at, sqlite3_destructor_type life, const std::string& value) {
  return bind_one(at, life, std::string_view(value));
}
int Statement::bind_one(int at, sqlite3_destructor_type life, const TextOrNull& value) {
  if (value.text.empty()) return sqlite3_bind_null(statement_.get(), at);
  return bind_one(at, life, value.text);
}
int Statement::bind_one(int at, sqlite3_destructor_type life, const Blob& value) {
  if (value.bytes.empty()) return sqlite3_bind_null(statement_.get(), at);
  return sqlite3_bind_blob64(statement_.get(), at, value.bytes.data(), value.bytes.size(), life);
}
int Statement::bind_one(int at, sqlite3_destructor_type life, const core::Id& value) {
  return sqlite3_bind_blob(statement_.get(), at, value.bytes.data(), static_cast<int>(value.bytes.size()),
                           life);
}

namespace {

// As a file: URI, in which these three would mean something.
std::string immutable(const std::string& path) {
  std::string out = "file:";
  for (const char c : path) {
    if (c == '%' || c == '?' || c == '#')
      out += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    else
      out += c;
  }
  return out + "?immutable=1";
}

}  // namespace

Result<Connection> Connection::open(const std::string& path, Access access) {
  count_no_memory();
  if (access == Access::read_write) {
    if (auto made = create_private(path); !made) return tl::unexpected(made.error());
  }
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  flags |= access == Access::read_write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
  if (access == Access::at_rest) flags |= SQLITE_OPEN_URI;
  const std::string name = access == Access::at_rest ? immutable(path) : path;
  sqlite3* raw = nullptr;
  const char* layer = access == Access::read_write ? log_writes_layer() : nullptr;
  const int code = sqlite3_open_v2(name.c_str(), &raw, flags, layer);
  Connection out{DatabasePtr(raw)};
  if (code != SQLITE_OK) return tl::unexpected(sqlite_error(raw, code, "open " + path));
  if (const int timeout = sqlite3_busy_timeout(raw, k_busy_timeout_ms); timeout != SQLITE_OK)
    return tl::unexpected(sqlite_error(raw, timeout, "busy_timeout"));
  return out;
}

Result<> Connection::keep_log_on_close() {
  const int code = sqlite3_db_config(db_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  if (code != SQLITE_OK) return tl::unexpected(sqlite_error(db_.get(), code, "no checkpoint on close"));
  return {};
}

void Connection::remove_log_on_close() {
  // It was set before, so it can be set back.
  (void)sqlite3_db_config(db_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
}

Result<> Connection::exec(const char* sql) {
  const int code = sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return tl::unexpected(sqlite_error(db_.get(), code, sql));
  return {};
}

Result<std::int64_t> Connection::number(const char* sql) {
  auto statement = Statement::prepare(db_.get(), {sql, sql});
  if (!statement) return tl::unexpected(statement.error());
  Rows rows = statement->select();
  const auto more = rows.next();
  if (!more) return tl::unexpected(more.error());
  if (!*more) return core::fail(Errc::corrupt, fmt::format("store: {}: no row", sql));
  return rows.integer(0);
}

}  // namespace mailotp::store
