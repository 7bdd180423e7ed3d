#include "store/reserve.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace mailotp::store {

using core::Errc;
using core::Result;

namespace {

constexpr std::int64_t k_block = 512;  // of st_blocks, whatever the file system has

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) (void)::close(fd_);  // nothing in it is of value
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

tl::unexpected<core::Error> failed(const std::string& path, int error) {
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  return core::fail(full ? Errc::no_space : Errc::unavailable,
                    fmt::format("store: {}: {}", path, std::strerror(error)));
}

// Zero, or the error.
int allocate(int fd, std::int64_t size) {
  int error = 0;
  do {
    error = ::fallocate(fd, 0, 0, size) == 0 ? 0 : errno;
  } while (error == EINTR);
  // A file system without it: block by block.
  return error == EOPNOTSUPP ? ::posix_fallocate(fd, 0, size) : error;
}

}  // namespace

Result<> Reserve::make() const {
  if (size_ == 0) return {};
  const File file(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  struct stat status {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) return failed(path_, errno);
  if (status.st_size >= size_ && status.st_blocks * k_block >= size_) return {};
  const int error = allocate(file.get(), size_ + size_ / 2);
  if (::ftruncate(file.get(), error == 0 ? size_ : 0) != 0) return failed(path_, errno);
  if (error != 0) return failed(path_, error);
  return {};
}

void Reserve::give_up() const {
  (void)::truncate(path_.c_str(), 0);  // where even that fails there is nothing left to be done
}

Result<std::int64_t> free_disk(const std::string& state_dir) {
  struct statvfs disk {};
  if (::statvfs(state_dir.c_str(), &disk) != 0) return failed(state_dir, errno);
  if ((disk.f_flag & ST_RDONLY) != 0) return failed(state_dir, EROFS);
  return static_cast<std::int64_t>(disk.f_bavail * disk.f_frsize);
}

}  // namespace mailotp::store
