#include "daemon/diagnosis/files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/app/places.h"
#include "daemon/diagnosis/service_unit.h"
#include "store/key_file.h"
#include "store/keys.h"

namespace mailotp::daemon {
namespace {

constexpr mode_t k_others = 077;
constexpr mode_t k_others_write = 022;
// A file that holds a secret.
struct SecretFile {
  std::string check;
  std::string credential;
  std::string path;
  std::string setting;  // "key_file"
  std::string make;     // what makes one
};

// What the service was given counts before the file.
SecretFile in_its_place(SecretFile file) {
  std::string credential = k_service_credentials + file.credential;
  if (::access(credential.c_str(), F_OK) == 0)
    file.path = std::move(credential);
  else
    file.path = credential_or(file.credential, file.path);
  return file;
}

Finding failed(const SecretFile& file, std::string saw, std::string remedy) {
  return {file.check, file.path, Outcome::failed, std::move(saw), std::move(remedy)};
}

// Can mailotpd's user read it, and nobody else? Root reads all.
std::optional<Finding> check_owner(const Site& site, const SecretFile& file, const struct stat& at) {
  if (at.st_uid == site.owner) return std::nullopt;
  const std::string owner = name_of_user(at.st_uid);
  const std::string daemon = name_of_user(site.owner);
  Finding out = failed(file, fmt::format("belongs to {}, and mailotpd runs as {}", owner, daemon),
                       fmt::format("chown {} {}", daemon, file.path));
  if (site.owner == 0)
    out.outcome = Outcome::warning;
  else
    out.saw += ", who cannot read it";
  if (at.st_uid == 0)
    out.remedy += fmt::format("; or have systemd hand it over: LoadCredential={}:{} in the service",
                              file.credential, file.path);
  return out;
}

// What only the service itself can read, by way of systemd.
std::optional<Finding> check_credential(const SecretFile& file) {
  if (file.path.starts_with(k_service_credentials) || !service_hands_over(file.credential))
    return std::nullopt;
  return Finding{file.check, file.path, Outcome::ok,
                 fmt::format("systemd hands it over as the credential {}, which root can look at while the "
                             "service runs",
                             file.credential),
                 ""};
}

// All but what is in it; nothing: that is to be read.
std::optional<Finding> check_access(const Site& site, const SecretFile& file) {
  if (auto credential = check_credential(file)) return credential;
  if (file.path.empty()) return failed(file, file.setting + " is not set", file.make);
  struct stat at {};
  if (::stat(file.path.c_str(), &at) != 0) {
    if (errno == EACCES) return unseen(file.check, file.path);
    return failed(file, errno == ENOENT ? "there is no such file" : std::strerror(errno), file.make);
  }
  if (!S_ISREG(at.st_mode)) return failed(file, "it is no regular file", file.make);
  const bool of_systemd = is_credential(file.path);
  if (!of_systemd && (at.st_mode & k_others) != 0)
    return failed(file,
                  fmt::format("its mode is {}: others than its owner can access it", shown_mode(at.st_mode)),
                  "chmod 600 " + file.path);
  if (!of_systemd) {
    if (auto foreign = check_owner(site, file, at)) return foreign;
  }
  if (::access(file.path.c_str(), R_OK) != 0) return unseen(file.check, file.path);
  return std::nullopt;
}

std::string without_path(const std::string& what, const std::string& path) {
  return what.starts_with(path + ": ") ? what.substr(path.size() + 2) : what;
}

// The ids of the keys that are needed and not there.
std::vector<std::string> missing(const store::KeyRing& ring, std::vector<std::string> needed) {
  std::erase_if(needed, [there = ring.ids()](const std::string& id) {
    return std::ranges::any_of(there, [&id](store::KeyId key) { return store::format_key_id(key) == id; });
  });
  return needed;
}

Finding check_password(const Site& site, SecretFile file, const std::string& whose) {
  file = in_its_place(std::move(file));
  if (auto wrong = check_access(site, file)) {
    wrong->saw = whose + ": " + wrong->saw;
    return *wrong;
  }
  if (const auto password = read_password(file.path); !password)
    return failed(file, whose + ": " + without_path(password.error().what, file.path),
                  "write the password into it, and nothing else");
  return {file.check, file.path, Outcome::ok, whose, ""};
}

// Files of the folder that are not its owner's: somebody has run mailotpd as another user.
std::vector<std::string> foreign_files(const std::string& folder, uid_t owner) {
  std::vector<std::string> out;
  DIR* open = ::opendir(folder.c_str());
  if (open == nullptr) return out;
  while (const dirent* entry = ::readdir(open)) {
    const std::string name = entry->d_name;
    struct stat at {};
    const bool known = ::fstatat(::dirfd(open), name.c_str(), &at, AT_SYMLINK_NOFOLLOW) == 0;
    if (name.starts_with("mailotp") && known && at.st_uid != owner) out.push_back(name);
  }
  (void)::closedir(open);  // it was only read
  std::ranges::sort(out);
  return out;
}

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

Finding check_socket(const std::string& check, const std::string& path) {
  const std::string folder = folder_of(path);
  const auto fails = [&](std::string saw, std::string remedy) {
    return Finding{check, path, Outcome::failed, std::move(saw), std::move(remedy)};
  };
  struct stat at {};
  if (::stat(folder.c_str(), &at) != 0) {
    if (errno == EACCES) return unseen(check, path);
    return fails(fmt::format("its folder {} is not there", folder),
                 fmt::format("systemd-tmpfiles --create, or install -d -o mailotpd -m 755 {}", folder));
  }
  const bool sticky = (at.st_mode & S_ISVTX) != 0;
  if (!sticky && (at.st_mode & S_IWOTH) != 0)
    return fails(
        fmt::format("everybody may write to its folder {} (mode {}), and put another socket in its place",
                    folder, shown_mode(at.st_mode)),
        "chmod o-w " + folder);
  if (::lstat(path.c_str(), &at) != 0)
    return errno == EACCES ? unseen(check, path)
                           : Finding{check, path, Outcome::ok, "made when mailotpd starts", ""};
  if (!S_ISSOCK(at.st_mode)) return fails("it is a file, and no socket", "mv it away: " + path);
  return {check, path, Outcome::ok, fmt::format("mode {}", shown_mode(at.st_mode)), ""};
}

}  // namespace

Finding check_key_file(const Site& site, const std::vector<std::string>& needed) {
  const std::string& configured = site.config.daemon.key_file;
  const SecretFile file =
      in_its_place({"key", "otp-key", configured, "key_file",
                    fmt::format("put it back from a backup; for a new installation: mailotpctl "
                                "keygen {}, and make it mailotpd's: chown {} {}",
                                configured, name_of_user(site.owner), configured)});
  if (auto wrong = check_access(site, file)) return *wrong;
  const auto keys = store::load_key_file(
      file.path, is_credential(file.path) ? store::KeyKeeper::systemd : store::KeyKeeper::its_owner);
  if (!keys)
    return failed(file, without_path(keys.error().what, file.path),
                  "one key a line, as mailotpctl keygen writes it; put back the file that you have kept");
  const auto ring = store::KeyRing::create(*keys, file.path);
  if (!ring) return failed(file, ring.error().what, "put back the file that you have kept");
  if (const auto lost = missing(*ring, needed); !lost.empty())
    return failed(file,
                  fmt::format("the database needs the key {}, which is not in it", fmt::join(lost, ", ")),
                  "put the old key's line back, below the first one; mailotpctl status tells when it may go");
  return {file.check, file.path, Outcome::ok,
          fmt::format("{} {}, closed to others", keys->size(), keys->size() == 1 ? "key" : "keys"), ""};
}

std::vector<Finding> check_password_files(const Site& site) {
  std::vector<Finding> out;
  const auto check = [&](std::string credential, const std::string& path, const std::string& whose) {
    std::string make = path.empty()
                           ? "set password_file there, or auth = \"none\""
                           : fmt::format("install -m 600 -o {} /dev/null {}, and write the password into it",
                                         name_of_user(site.owner), path);
    out.push_back(check_password(
        site, {"password", std::move(credential), path, "password_file", std::move(make)}, whose));
  };
  for (const core::RelayConfig& relay : site.config.relays) {
    if (authenticates(relay))
      check("relay-" + relay.name + "-password", relay.password_file, "of relay " + relay.name);
  }
  if (site.config.bounces)
    check("imap-password", site.config.bounces->password_file, "of the bounce mailbox");
  return out;
}

Finding check_state_folder(const Site& site) {
  const std::string& folder = site.config.daemon.state_dir;
  const auto fails = [&folder](std::string saw, std::string remedy) {
    return Finding{"state", folder, Outcome::failed, std::move(saw), std::move(remedy)};
  };
  struct stat at {};
  const std::string daemon = name_of_user(site.owner);
  if (::stat(folder.c_str(), &at) != 0) {
    if (errno == EACCES) return unseen("state", folder);
    if (errno == ENOENT && ::access(folder_of(folder).c_str(), F_OK) == 0)
      return {"state", folder, Outcome::warning, "there is none yet: mailotpd was never started here",
              fmt::format("start it, or: install -d -m 700 -o mailotpd {}", folder)};
    return fails(std::strerror(errno), fmt::format("install -d -m 700 -o mailotpd {}", folder));
  }
  if (!S_ISDIR(at.st_mode)) return fails("it is no folder", "set state_dir in [daemon] to a folder");
  if (at.st_uid != site.owner)
    return fails(fmt::format("belongs to {}, and mailotpd runs as {}", name_of_user(at.st_uid), daemon),
                 fmt::format("chown -R {} {}", daemon, folder));
  if ((at.st_mode & k_others_write) != 0 || (at.st_mode & S_IRWXU) != S_IRWXU)
    return fails(fmt::format("its mode is {}: {}", shown_mode(at.st_mode),
                             (at.st_mode & k_others_write) != 0 ? "others can change what is in it"
                                                                : "its own user cannot work in it"),
                 "chmod 700 " + folder);
  if (const auto foreign = foreign_files(folder, at.st_uid); !foreign.empty())
    return fails(fmt::format("{} in it is not {}'s: mailotpd was started as another user",
                             fmt::join(foreign, ", "), daemon),
                 fmt::format("chown -R {} {}", daemon, folder));
  if ((at.st_mode & k_others) != 0)
    return {"state", folder, Outcome::warning,
            fmt::format("its mode is {}: others can look into it", shown_mode(at.st_mode)),
            "chmod 700 " + folder};
  return {"state", folder, Outcome::ok, fmt::format("{}'s, closed to others", daemon), ""};
}

std::vector<Finding> check_sockets(const Site& site) {
  const core::DaemonConfig& own = site.config.daemon;
  std::vector<Finding> out{check_socket("api-socket", own.api_socket),
                           check_socket("admin-socket", own.admin_socket)};
  if (!own.metrics_socket.empty()) out.push_back(check_socket("metrics-socket", own.metrics_socket));
  for (const core::AppConfig& app : site.config.apps) {
    if (!app.socket.empty()) out.push_back(check_socket("app-socket", app.socket));
  }
  return out;
}

}  // namespace mailotp::daemon
