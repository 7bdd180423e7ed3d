#include "ctl/keygen.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/secret.h"
#include "ctl/file_io.h"
#include "ctl/text.h"

namespace mailotp::ctl {
namespace {

constexpr std::size_t k_key_bytes = 32;
constexpr std::string_view k_comment =
    "# Key of mailotpd. Who has it can read what is sealed in the database. The first key of this file "
    "writes, all "
    "of them read.\n";

Failure failure(const std::string& path, std::string_view what, int error) {
  const auto exit = error == EACCES || error == EPERM ? ExitCode::no_permission : ExitCode::refused;
  return {exit, fmt::format("{}: {}: {}", printable(path), what, std::strerror(error))};
}

// 64 hex digits and a line break. Nothing when the kernel gives no random bytes; errno says why.
core::Secret new_key() {
  constexpr std::string_view k_digits = "0123456789abcdef";
  std::array<std::uint8_t, k_key_bytes> bytes{};
  ssize_t got = 0;
  do {
    got = ::getrandom(bytes.data(), bytes.size(), 0);  // at most 256 bytes come in one piece
  } while (got < 0 && errno == EINTR);
  if (got != static_cast<ssize_t>(bytes.size())) return {};
  std::string hex;
  hex.reserve(2 * k_key_bytes + 1);  // no second copy by growth
  for (const std::uint8_t byte : bytes) {
    hex += k_digits[byte >> 4U];
    hex += k_digits[byte & 15U];
  }
  hex += '\n';
  ::explicit_bzero(bytes.data(), bytes.size());
  return core::Secret(std::move(hex));
}

}  // namespace

Attempt<void> make_key_file(const std::string& path) {
  const Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (fd.get() < 0 && errno == EEXIST) {
    return tl::unexpected(Failure{
        ExitCode::refused,
        fmt::format("{} exists and was not touched: codes and mails sealed with its key need it. To rotate, "
                    "make a key in another file and put its line above the old one",
                    printable(path))});
  }
  if (fd.get() < 0) return tl::unexpected(failure(path, "cannot create the key file", errno));
  const core::Secret key = new_key();
  // The umask may have taken the owner's own rights.
  const bool written = !key.empty() && ::fchmod(fd.get(), 0600) == 0 && write_all(fd.get(), k_comment) &&
                       write_all(fd.get(), key.reveal()) && ::fsync(fd.get()) == 0 && sync_folder_of(path);
  if (written) return {};
  const int error = errno;
  (void)::unlink(path.c_str());  // half a key file is worse than none; the first error is the one to tell
  return tl::unexpected(failure(path, "cannot write the key file", error));
}

}  // namespace mailotp::ctl
