#include "daemon/config/accounts.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

namespace mailotp::daemon {
namespace {

using core::Errc;

constexpr std::size_t k_most_space = 16UL << 20;  // a group's entry names all its members

std::vector<std::uint32_t> gids_of(const char* user, gid_t primary) {
  std::vector<gid_t> gids(32);
  for (;;) {
    int count = static_cast<int>(gids.size());
    const bool fits = ::getgrouplist(user, primary, gids.data(), &count) >= 0;
    gids.resize(static_cast<std::size_t>(count));
    if (fits) return {gids.begin(), gids.end()};
  }
}

Account account_of(const passwd& entry) {
  return {entry.pw_name, entry.pw_uid, gids_of(entry.pw_name, entry.pw_gid)};
}

// getpwnam_r and getgrnam_r, with space for as long an entry as there is. The entry's texts are in `space`.
template <class Entry, class Lookup>
core::Result<Entry> look_up(Lookup lookup, const char* what, const std::string& name,
                            std::vector<char>& space) {
  Entry entry{};
  Entry* found = nullptr;
  int error = ERANGE;
  for (space.resize(16UL * 1024); error == ERANGE && space.size() <= k_most_space;) {
    error = lookup(name.c_str(), &entry, space.data(), space.size(), &found);
    if (error == ERANGE) space.resize(space.size() * 4);
  }
  if (found != nullptr) return entry;
  // What some sources say in place of "none" (getpwnam(3)).
  if (error == 0 || error == ENOENT || error == ESRCH || error == EBADF || error == EPERM)
    return core::fail(Errc::not_found, fmt::format("there is no {} \"{}\" on this system", what, name));
  return core::fail(Errc::unavailable,
                    fmt::format("the {} \"{}\" cannot be looked up: {}", what, name, std::strerror(error)));
}

}  // namespace

core::Result<Account> SystemAccounts::user(const std::string& name) const {
  std::vector<char> space;
  return look_up<passwd>(::getpwnam_r, "user", name, space).map(account_of);
}

core::Result<std::uint32_t> SystemAccounts::group(const std::string& name) const {
  std::vector<char> space;
  return look_up<struct group>(::getgrnam_r, "group", name, space).map([](const struct group& entry) {
    return static_cast<std::uint32_t>(entry.gr_gid);
  });
}

std::vector<Account> SystemAccounts::all() const {
  // getgrouplist(3) is called when the list has been read: it may use what getpwent(3) points into.
  struct Listed {
    std::string user;
    uid_t uid;
    gid_t gid;
  };
  std::vector<Listed> listed;
  ::setpwent();
  while (const passwd* entry = ::getpwent())
    listed.push_back({entry->pw_name, entry->pw_uid, entry->pw_gid});
  ::endpwent();
  std::vector<Account> accounts;
  accounts.reserve(listed.size());
  for (const Listed& one : listed)
    accounts.push_back({one.user, one.uid, gids_of(one.user.c_str(), one.gid)});
  return accounts;
}

IdMaps SystemAccounts::id_maps() const {
  return read_id_maps();
}

}  // namespace mailotp::daemon
