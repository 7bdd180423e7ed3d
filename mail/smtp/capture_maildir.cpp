#include "mail/smtp/capture_maildir.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mailotp::mail {
namespace {

constexpr std::size_t k_max_host = 100;  // of a file name, which has 255 bytes

core::Error failed(const char* call, const std::string& path) {
  const int code = errno;
  return {core::Errc::io, std::string(call) + " " + path + ": " + std::strerror(code)};
}

core::Result<> write_all(int file, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t size = ::write(file, content.data(), content.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return tl::unexpected(failed("write", path));
    content.remove_prefix(static_cast<std::size_t>(size));
  }
  if (::fsync(file) != 0) return tl::unexpected(failed("fsync", path));
  return {};
}

}  // namespace

std::string CaptureMaildir::file_name(const core::AttemptKey& key, core::WallTime now,
                                      std::string_view hostname) {
  const auto seconds = std::chrono::floor<core::Seconds>(now).time_since_epoch().count();
  std::string name =
      std::to_string(seconds) + "." + core::to_string(key.message) + "_" + std::to_string(key.attempt) + ".";
  // A maildir's names hold neither a slash nor a colon, and a leading dot would hide nothing here.
  for (const char c : hostname.substr(0, k_max_host))
    name += c == '/' || c == ':' ? '_' : c;
  return name;
}

core::Result<> CaptureMaildir::write(const std::string& name, std::string_view content) const {
  const std::string path = folder_ + "/tmp/" + name;
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0) return tl::unexpected(failed("open", path));
  core::Result<> written = write_all(file, content, path);
  // A full disk may show only here (NFS).
  if (::close(file) != 0 && written) written = tl::unexpected(failed("close", path));
  if (!written) discard(name);
  return written;
}

core::Result<> CaptureMaildir::publish(const std::string& name) const {
  const std::string from = folder_ + "/tmp/" + name;
  const std::string to = folder_ + "/new/" + name;
  if (::rename(from.c_str(), to.c_str()) == 0) return {};
  const core::Error error = failed("rename", to);
  discard(name);
  return tl::unexpected(error);
}

core::Result<> CaptureMaildir::sync() const {
  const std::string path = folder_ + "/new";
  const int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return tl::unexpected(failed("open", path));
  core::Result<> synced;
  if (::fsync(folder) != 0) synced = tl::unexpected(failed("fsync", path));
  (void)::close(folder);  // opened for reading
  return synced;
}

void CaptureMaildir::discard(const std::string& name) const {
  // What stays in tmp no reader looks at.
  (void)::unlink((folder_ + "/tmp/" + name).c_str());
}

core::Result<> CaptureMaildir::probe(const std::string& name) const {
  if (auto written = write(name, "probe"); !written) return written;
  discard(name);
  const std::string path = folder_ + "/new";
  if (::access(path.c_str(), W_OK | X_OK) != 0) return tl::unexpected(failed("access", path));
  return sync();
}

}  // namespace mailotp::mail
