#include "store/file_watch.h"

#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>

namespace mailotp::store {

FileWatch::FileWatch(const std::string& database)
    : files_{stat(database), stat(database + "-wal"), stat(database + "-shm")} {}

FileWatch::Watched FileWatch::stat(std::string path) {
  Watched out;
  out.path = std::move(path);
  struct stat status {};
  if (::stat(out.path.c_str(), &status) == 0) {
    out.device = status.st_dev;
    out.inode = status.st_ino;
  }
  return out;
}

core::Result<> FileWatch::look() const {
  for (const Watched& file : files_) {
    if (stat(file.path) != file)
      return core::fail(core::Errc::unavailable,
                        fmt::format("store: the database file was removed or replaced: {}; put it back, or "
                                    "stop the daemon, which has it still open",
                                    file.path));
  }
  return {};
}

}  // namespace mailotp::store
