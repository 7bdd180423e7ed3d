#include "store/start_files.h"

#include <array>
#include <optional>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/snapshot.h"

namespace mailotp::store {

using core::Errc;
using core::Result;

namespace {

// Absent: there is no such file.
std::optional<off_t> size_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return status.st_size;
}

// As it was taken, and never opened since.
bool is_new_snapshot(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;  // whoever opens it says why
  std::array<char, core::k_database_header> first{};
  const ssize_t got = ::pread(fd, first.data(), first.size(), 0);
  (void)::close(fd);  // it was only read
  if (got < 0) return false;
  const auto header = core::read_database_header({first.data(), static_cast<std::size_t>(got)});
  return header && header->application_id == core::k_snapshot_id && !header->may_have_log;
}

}  // namespace

std::string database_in(const std::string& state_dir) {
  return state_dir + "/mailotpd.db";
}

Result<> check_files(const StateLock& lock, const std::string& state_dir) {
  const std::string path = database_in(state_dir);
  const auto log = size_of(path + "-wal");
  if (is_new_snapshot(path)) {
    if (log.value_or(0) == 0) return {};
    return core::fail(Errc::corrupt,
                      fmt::format("store: {0} is a backup, and {0}-wal belongs to the database that "
                                  "was in its place: move {0}-wal and {0}-shm away",
                                  path));
  }
  if (!lock.was_left_open() || !size_of(path) || log) return {};
  return core::fail(Errc::corrupt,
                    fmt::format("store: the last run did not end cleanly, and its log {0}-wal is gone: rows "
                                "that were acknowledged may be missing. Put it back; or, if another program "
                                "has opened {0} since and moved it in, or to go on with what {0} has, remove "
                                "{1}/mailotpd.lock",
                                path, state_dir));
}

}  // namespace mailotp::store
