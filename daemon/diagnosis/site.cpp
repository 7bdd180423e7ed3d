#include "daemon/diagnosis/site.h"

#include <array>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

namespace mailotp::daemon {

Site look_at_site(const core::Config& config) {
  Site site{config, store::look_at_folder(config.daemon.state_dir), ::geteuid()};
  struct stat at {};
  if (::stat(config.daemon.state_dir.c_str(), &at) == 0) site.owner = at.st_uid;
  if (is_running(site)) site.owner = site.folder->uid.value_or(site.owner);
  return site;
}

bool is_running(const Site& site) {
  return site.folder && site.folder->use == store::FolderUse::running;
}

std::string name_of_user(uid_t uid) {
  std::vector<char> space(16 * 1024);
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, space.data(), space.size(), &found) != 0 || found == nullptr)
    return std::to_string(uid);
  return found->pw_name;
}

std::string shown_mode(mode_t mode) {
  return fmt::format("{:04o}", mode & 07777U);
}

std::string shown_size(std::int64_t bytes) {
  constexpr std::array<const char*, 5> k_units{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  auto size = static_cast<double>(bytes);
  while (size >= 1024 && unit + 1 < k_units.size()) {
    size /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", size, size < 10 && unit > 0 ? 1 : 0, k_units[unit]);
}

Finding unseen(std::string check, std::string subject) {
  return {std::move(check), std::move(subject), Outcome::unseen, "only root and mailotpd's user may look",
          "run as root: sudo mailotpctl doctor"};
}

}  // namespace mailotp::daemon
