#include "daemon/app/named_files.h"

#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "daemon/app/places.h"
#include "daemon/app/senders.h"
#include "store/key_file.h"

namespace mailotp::daemon {

namespace {

constexpr std::string_view k_credential = "otp-key";
constexpr const char* k_key_file = "daemon.key_file";

// Of a relay that authenticates, or of the bounce mailbox.
struct NamedPassword {
  std::string where;  // in the configuration
  std::string whose;
  std::string path;
};

std::vector<NamedPassword> passwords_of(const LoadedConfig& loaded) {
  const core::Config& config = loaded.config;
  std::vector<NamedPassword> out;
  for (std::size_t i = 0; i < config.relays.size(); ++i) {
    const core::RelayConfig& relay = config.relays[i];
    if (authenticates(relay))
      out.push_back({loaded.where(fmt::format("relay[{}].password_file", i)),
                     fmt::format("relay \"{}\"", relay.name), password_file_of(relay)});
  }
  if (config.bounces)
    out.push_back({loaded.where("bounces.password_file"), "[bounces]", password_file_of(*config.bounces)});
  return out;
}

core::Result<> check_password(const NamedPassword& named) {
  if (named.path.empty())
    return core::fail(core::Errc::invalid, fmt::format("{}{}: there is a username, and no password_file",
                                                       named.where, named.whose));
  const auto password = read_password(named.path);
  if (password) return {};
  return core::fail(password.error().code,
                    fmt::format("{}{}: {}", named.where, named.whose, password.error().what));
}

bool is_there(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

std::string key_path(const LoadedConfig& loaded) {
  return credential_or(std::string(k_credential), loaded.config.daemon.key_file);
}

}  // namespace

core::Result<NamedKeys> load_named_keys(const LoadedConfig& loaded) {
  const std::string& configured = loaded.config.daemon.key_file;
  const std::string path = key_path(loaded);
  if (!is_there(path)) {
    return core::fail(core::Errc::not_found, fmt::format("{}there is no key file {}: `mailotpctl keygen {}` "
                                                         "makes one",
                                                         loaded.where(k_key_file), path, configured));
  }
  auto keys = store::load_key_file(
      path, is_credential(path) ? store::KeyKeeper::systemd : store::KeyKeeper::its_owner);
  if (!keys)
    return tl::unexpected(core::Error{keys.error().code, loaded.where(k_key_file) + keys.error().what});
  auto ring = store::KeyRing::create(*keys, path);
  if (!ring)
    return tl::unexpected(core::Error{ring.error().code, loaded.where(k_key_file) + ring.error().what});
  return NamedKeys{std::move(*keys), std::move(*ring), path, path != configured};
}

core::Result<> check_passwords(const LoadedConfig& loaded) {
  for (const NamedPassword& named : passwords_of(loaded)) {
    if (auto good = check_password(named); !good) return good;
  }
  return {};
}

core::Result<std::vector<std::string>> check_named_files(const LoadedConfig& loaded) {
  std::vector<std::string> absent;
  if (const std::string key = key_path(loaded); !is_there(key)) {
    absent.push_back(fmt::format("{}{} is not there", loaded.where(k_key_file), key));
  } else if (const auto keys = load_named_keys(loaded); !keys) {
    return tl::unexpected(keys.error());
  }
  for (const NamedPassword& named : passwords_of(loaded)) {
    if (!named.path.empty() && !is_there(named.path)) {
      absent.push_back(fmt::format("{}{}: {} is not there", named.where, named.whose, named.path));
    } else if (const auto good = check_password(named); !good) {
      return tl::unexpected(good.error());
    }
  }
  if (const auto senders = check_senders(loaded); !senders) return tl::unexpected(senders.error());
  return absent;
}

}  // namespace mailotp::daemon
