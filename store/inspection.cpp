#include "store/inspection.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/keys.h"
#include "store/migrations.h"
#include "store/sqlite.h"
#include "store/start_files.h"
#include "store/statements.h"

namespace mailotp::store {

using core::Errc;
using core::Result;

namespace {

// The first bytes of a small file; absent where there is none.
Result<std::optional<std::string>> head_of(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0 && (errno == ENOENT || errno == ESRCH)) return std::optional<std::string>{};
  std::array<char, 4096> text{};
  const ssize_t got = fd < 0 ? -1 : ::read(fd, text.data(), text.size());
  const int error = errno;
  if (fd >= 0) (void)::close(fd);  // it was only read
  if (got < 0) return core::fail(Errc::io, fmt::format("{}: {}", path, std::strerror(error)));
  return std::optional(std::string(text.data(), static_cast<std::size_t>(got)));
}

// Not by trying the lock: a daemon that starts at this moment must get it. A pid may be another process's by
// now, so its name is looked at.
bool is_daemon(pid_t pid) {
  const auto name = head_of(fmt::format("/proc/{}/comm", pid));
  return name && *name && (*name)->starts_with("mailotpd\n");
}

// The effective one, of proc(5): "Uid:\treal\teffective\t…". The owner of /proc/PID would be root for whoever
// is not dumpable.
std::optional<uid_t> user_of(pid_t pid) {
  const auto status = head_of(fmt::format("/proc/{}/status", pid));
  if (!status || !*status) return std::nullopt;
  const std::string& text = **status;
  const auto line = text.find("\nUid:\t");
  const auto effective = line == std::string::npos ? line : text.find('\t', line + 6);
  if (effective == std::string::npos) return std::nullopt;
  uid_t uid = 0;
  const char* end = text.data() + text.size();
  if (std::from_chars(text.data() + effective + 1, end, uid).ec != std::errc{}) return std::nullopt;
  return uid;
}

std::int64_t size_of(const std::string& path) {
  struct stat file {};
  return ::stat(path.c_str(), &file) == 0 ? file.st_size : -1;
}

// Nobody writes to a database at rest, so it is read as it lies there: SQLite would make files for its log,
// which the daemon might not be allowed to open.
Result<Connection> open(const std::string& path, FolderUse use) {
  const auto access = use == FolderUse::running ? Connection::Access::read_only : Connection::Access::at_rest;
  return Connection::open(path, access);
}

Result<> check_pages(Connection& db) {
  // One row, "ok", or the first thing that is wrong.
  auto statement = Statement::prepare(db.raw(), {"quick_check", "PRAGMA quick_check(1)"});
  if (!statement) return tl::unexpected(statement.error());
  Rows rows = statement->select();
  const auto more = rows.next();
  if (!more) return tl::unexpected(more.error());
  if (*more && rows.text(0) == "ok") return {};
  return core::fail(Errc::corrupt, fmt::format("store: {}", *more ? rows.text(0) : "no answer"));
}

Result<std::vector<std::string>> keys_needed(Connection& db) {
  auto sql = Prepared<ReaderSql, k_reader_statements>::prepare(db, k_reader_sql);
  if (!sql) return tl::unexpected(sql.error());
  std::vector<std::string> out;
  Rows rows = (*sql)[ReaderSql::key_all].select();
  for (;;) {
    const auto more = rows.next();
    if (!more) return tl::unexpected(more.error());
    if (!*more) return out;
    const auto id = static_cast<KeyId>(rows.integer(0));
    const auto in_challenge = (*sql)[ReaderSql::key_of_open_challenge].select(id).next();
    if (!in_challenge) return tl::unexpected(in_challenge.error());
    const auto in_body = (*sql)[ReaderSql::key_of_body].select(id).next();
    if (!in_body) return tl::unexpected(in_body.error());
    if (*in_challenge || *in_body) out.push_back(format_key_id(id));
  }
}

}  // namespace

Result<FolderLook> look_at_folder(const std::string& state_dir) {
  const auto lock = head_of(state_dir + "/mailotpd.lock");
  if (!lock) return tl::unexpected(lock.error());
  if (!*lock || (*lock)->empty()) return FolderLook{};
  const std::string& text = **lock;  // StateLock writes it
  pid_t pid = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), pid);
  if (pid > 0 && is_daemon(pid)) return FolderLook{FolderUse::running, pid, user_of(pid)};
  const bool left_open = text.find("open") != std::string::npos;
  return FolderLook{left_open ? FolderUse::left_open : FolderUse::unused, 0, std::nullopt};
}

Result<Inspection> inspect(const std::string& state_dir, FolderUse use) {
  const std::string path = database_in(state_dir);
  Inspection out;
  out.newest = static_cast<std::int64_t>(migrations().size());
  out.bytes = size_of(path);
  if (out.bytes < 0) {
    return core::fail(errno == ENOENT ? Errc::not_found : Errc::io,
                      fmt::format("{}: {}", path, std::strerror(errno)));
  }
  const std::int64_t log = size_of(path + "-wal");
  if (use == FolderUse::left_open && log < 0) {
    return core::fail(Errc::corrupt,
                      fmt::format("the last run did not end cleanly, and its log {}-wal is gone", path));
  }
  auto db = open(path, use);
  if (!db) return tl::unexpected(db.error());
  const auto schema = known_schema(*db);
  if (!schema) return tl::unexpected(schema.error());
  out.schema = *schema;
  // Without its log a database is not all there; that is the next start's to read.
  const bool whole = use == FolderUse::running || log <= 0;
  if (!whole) return out;
  if (out.bytes <= k_most_checked) {
    if (auto checked = check_pages(*db); !checked) return tl::unexpected(checked.error());
    out.checked = true;
  }
  if (out.schema != out.newest) return out;
  auto needed = keys_needed(*db);
  if (!needed) return tl::unexpected(needed.error());
  out.keys_needed = *std::move(needed);
  return out;
}

}  // namespace mailotp::store
