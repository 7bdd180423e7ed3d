#include "store/snapshot.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/snapshot.h"
#include "store/reserve.h"
#include "store/sqlite.h"
#include "store/start_files.h"

namespace mailotp::store {

using core::Errc;
using core::Result;

namespace {

// Of SQLite's virtual machine, some for each row: well under a millisecond.
constexpr int k_steps_between_looks = 1000;

// So much of the copy is left to the kernel at once. A commit that needs the file system's journal may have
// to wait for all of it (docs/DECISIONS.md has the figures).
constexpr off_t k_piece = 4L << 20;

std::string copy_in(const std::string& state_dir) {
  return state_dir + "/mailotpd.snapshot";
}

tl::unexpected<core::Error> failed(const std::string& path, int error) {
  return core::fail(error == ENOSPC || error == EDQUOT ? Errc::no_space : Errc::io,
                    fmt::format("snapshot: {}: {}", path, std::strerror(error)));
}

// The copy's name, while it has one.
class NamedCopy {
 public:
  explicit NamedCopy(std::string path) : path_(std::move(path)) {}
  ~NamedCopy() { (void)::unlink(path_.c_str()); }  // at the next start, if not now
  NamedCopy(const NamedCopy&) = delete;
  NamedCopy& operator=(const NamedCopy&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// SQLite would make it with the process's umask, and takes an empty one.
Result<int> make_private(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return failed(path, errno);
  return fd;
}

Result<> check_room(Connection& db, const std::string& state_dir, std::int64_t keep_free) {
  const auto pages = db.number("PRAGMA page_count");
  const auto page = db.number("PRAGMA page_size");
  const auto left = free_disk(state_dir);
  if (!pages) return tl::unexpected(pages.error());
  if (!page) return tl::unexpected(page.error());
  if (!left) return tl::unexpected(left.error());
  const std::int64_t wanted = *pages * *page;
  if (*left - wanted >= keep_free) return {};
  return core::fail(Errc::no_space,
                    fmt::format("a snapshot may need {} MiB for a moment; {} MiB of the disk are free, "
                                "of which {} are kept for what is under way",
                                (wanted >> 20) + 1, *left >> 20, keep_free >> 20));
}

// A copy on its way.
struct Copying {
  const std::function<bool()>& wanted;
  int fd;  // of the copy
  off_t written_out = 0;

  // What was begun before must be on the disk, and the next piece is begun.
  void write_out() {
    struct stat status {};
    if (::fstat(fd, &status) != 0 || status.st_size - written_out < k_piece) return;
    written_out = status.st_size;
    // For the pace only: an error of the disk is found by whoever reads the copy.
    (void)::sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE);
  }
};

int must_end(void* copying) noexcept {
  auto& copy = *static_cast<Copying*>(copying);
  copy.write_out();
  return copy.wanted() ? 0 : 1;
}

Result<> copy(Connection& db, const NamedCopy& to, int fd, const std::function<bool()>& wanted) {
  Copying copying{wanted, fd};
  sqlite3_progress_handler(db.raw(), k_steps_between_looks, must_end, &copying);
  auto statement = Statement::prepare(db.raw(), {"snapshot", "VACUUM INTO ?1"});
  Result<> copied;
  if (statement)
    copied = statement->run(to.path());
  else
    copied = tl::unexpected(statement.error());
  sqlite3_progress_handler(db.raw(), 0, nullptr, nullptr);
  if (!copied && !wanted()) return core::fail(Errc::unavailable, "the snapshot is not wanted any more");
  return copied;
}

// Nobody reads the copy before this is done, so nothing of it needs to be undone or on the disk.
Result<> mark(const std::string& path) {
  auto db = Connection::open(path, Connection::Access::read_write);
  if (!db) return tl::unexpected(db.error());
  return db->exec(
      fmt::format("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA application_id = {};",
                  core::k_snapshot_id)
          .c_str());
}

}  // namespace

Result<Snapshot> Snapshot::take(const std::string& state_dir, std::int64_t keep_free,
                                const std::function<bool()>& wanted) {
  auto db = Connection::open(database_in(state_dir), Connection::Access::read_only);
  if (!db) return tl::unexpected(db.error());
  if (auto set = db->exec("PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;"); !set)
    return tl::unexpected(set.error());
  if (auto room = check_room(*db, state_dir, keep_free); !room) return tl::unexpected(room.error());
  remove_unfinished_snapshot(state_dir);
  const NamedCopy named(copy_in(state_dir));
  const auto fd = make_private(named.path());
  if (!fd) return tl::unexpected(fd.error());
  Snapshot out(*fd, 0);
  if (auto copied = copy(*db, named, *fd, wanted); !copied) return tl::unexpected(copied.error());
  if (auto marked = mark(named.path()); !marked) return tl::unexpected(marked.error());
  struct stat status {};
  if (::fstat(*fd, &status) != 0) return failed(named.path(), errno);
  out.size_ = static_cast<std::uint64_t>(status.st_size);
  return out;
}

Result<std::string> Snapshot::read(std::uint64_t from, std::size_t most) const {
  std::string bytes(static_cast<std::size_t>(std::min<std::uint64_t>(most, size_ - std::min(from, size_))),
                    '\0');
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got =
        ::pread(fd_, bytes.data() + have, bytes.size() - have, static_cast<off_t>(from + have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed("read", errno);
    if (got == 0) return core::fail(Errc::io, "snapshot: the file has become shorter");
    have += static_cast<std::size_t>(got);
  }
  return bytes;
}

Snapshot::Snapshot(Snapshot&& other) noexcept : fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

Snapshot& Snapshot::operator=(Snapshot&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  return *this;
}

Snapshot::~Snapshot() {
  if (fd_ >= 0) (void)::close(fd_);  // it was only read
}

void remove_unfinished_snapshot(const std::string& state_dir) {
  const std::string path = copy_in(state_dir);
  for (const std::string& one : {path, path + "-journal"})
    (void)::unlink(one.c_str());  // mostly there is none; take() fails where one cannot be removed
}

}  // namespace mailotp::store
