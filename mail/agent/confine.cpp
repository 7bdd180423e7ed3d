#include "mail/agent/confine.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace mailotp::mail {
namespace {

// Newer than the kernel headers of Debian 12, not than its backported kernels.
constexpr std::uint64_t k_truncate = 1ULL << 14;   // ABI 3
constexpr std::uint64_t k_ioctl_dev = 1ULL << 15;  // ABI 5
// The first that allows a rename from one folder to another, which a maildir is made of.
constexpr long k_least_abi = 2;

constexpr std::uint64_t k_read = LANDLOCK_ACCESS_FS_READ_FILE;
constexpr std::uint64_t k_read_folder = k_read | LANDLOCK_ACCESS_FS_READ_DIR;
// READ_DIR: a folder is opened in order to sync it.
constexpr std::uint64_t k_write_folder = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
                                         LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REFER |
                                         LANDLOCK_ACCESS_FS_READ_DIR;

core::Error failed(const char* call) {
  return {core::Errc::io, std::string(call) + ": " + std::strerror(errno)};
}

class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  ~Descriptor() {
    if (descriptor_ >= 0) (void)::close(descriptor_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return descriptor_; }

 private:
  int descriptor_;
};

// Everything that this kernel can refuse.
std::uint64_t all_rights(long abi) {
  std::uint64_t rights = (LANDLOCK_ACCESS_FS_REFER << 1U) - 1;
  if (abi >= 3) rights |= k_truncate;
  if (abi >= 5) rights |= k_ioctl_dev;
  return rights;
}

core::Result<> allow(const Descriptor& rules, const std::string& path, std::uint64_t file_rights,
                     std::uint64_t folder_rights) {
  const Descriptor target(::open(path.c_str(), O_PATH | O_CLOEXEC));
  struct stat status {};
  if (target.get() < 0 || ::fstat(target.get(), &status) != 0) return {};
  landlock_path_beneath_attr rule{};
  rule.allowed_access = S_ISDIR(status.st_mode) ? folder_rights : file_rights;
  rule.parent_fd = target.get();
  if (rule.allowed_access == 0) return {};
  if (::syscall(SYS_landlock_add_rule, rules.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
    return tl::unexpected(failed("landlock_add_rule"));
  return {};
}

}  // namespace

core::Result<> close_all_but(std::span<const int> keep) {
  std::vector<int> kept(keep.begin(), keep.end());
  kept.push_back(STDERR_FILENO);
  std::sort(kept.begin(), kept.end());
  unsigned first = 0;
  for (const int descriptor : kept) {
    const auto next = static_cast<unsigned>(descriptor);
    if (descriptor > STDERR_FILENO && next > first && ::close_range(first, next - 1, 0) != 0)
      return tl::unexpected(failed("close_range"));
    if (descriptor >= STDERR_FILENO) first = next + 1;
  }
  if (::close_range(first, UINT_MAX, 0) != 0) return tl::unexpected(failed("close_range"));
  return {};
}

core::Result<> give_up_privileges() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return tl::unexpected(failed("PR_SET_NO_NEW_PRIVS"));
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return tl::unexpected(failed("PR_SET_DUMPABLE"));
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) return tl::unexpected(failed("RLIMIT_CORE"));
  return {};
}

core::Result<core::Confinement> confine_files(const FileRules& rules) {
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < k_least_abi) return core::Confinement::no_landlock;
  landlock_ruleset_attr handled{};
  handled.handled_access_fs = all_rights(abi);
  const Descriptor set(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0)));
  if (set.get() < 0) return tl::unexpected(failed("landlock_create_ruleset"));
  for (const std::string& path : rules.read)
    if (auto added = allow(set, path, k_read, k_read_folder); !added) return tl::unexpected(added.error());
  for (const std::string& path : rules.write)
    if (auto added = allow(set, path, 0, k_write_folder); !added) return tl::unexpected(added.error());
  if (::syscall(SYS_landlock_restrict_self, set.get(), 0) != 0)
    return tl::unexpected(failed("landlock_restrict_self"));
  return core::Confinement::full;
}

std::vector<std::string> resolver_and_ca_files() {
  std::vector<std::string> files{"/etc/resolv.conf", "/etc/hosts",    "/etc/nsswitch.conf",
                                 "/etc/host.conf",   "/etc/gai.conf", "/etc/services",
                                 "/etc/ssl",         "/usr/lib",      "/usr/share/ca-certificates"};
  // A resolver's daemon replaces its file by a rename, and a rule holds for the old file only. Where
  // resolv.conf is a link into /run, its folder holds nothing else: allow the folder.
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath("/etc/resolv.conf", nullptr), &std::free);
  if (real) {
    const std::string target(real.get());
    const std::size_t slash = target.rfind('/');
    if (target.starts_with("/run/") && slash > std::strlen("/run")) files.push_back(target.substr(0, slash));
  }
  return files;
}

}  // namespace mailotp::mail
