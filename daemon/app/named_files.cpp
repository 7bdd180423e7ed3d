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

core::Result<> check_password(const LoadedConfig& loaded, const std::string& key, const std::string& whose,
                              const std::string& path) {
  if (path.empty())
    return core::fail(core::Errc::invalid, fmt::format("{}{}: there is a username, and no password_file",
                                                       loaded.where(key), whose));
  const auto password = read_password(path);
  if (password) return {};
  return core::fail(password.error().code,
                    fmt::format("{}{}: {}", loaded.where(key), whose, password.error().what));
}

}  // namespace

core::Result<NamedKeys> load_named_keys(const LoadedConfig& loaded) {
  const std::string& configured = loaded.config.daemon.key_file;
  const std::string path = credential_or(std::string(k_credential), configured);
  if (::access(path.c_str(), F_OK) != 0) {
    return core::fail(core::Errc::not_found, fmt::format("{}there is no key file {}: `mailotpctl keygen {}` "
                                                         "makes one",
                                                         loaded.where(k_key_file), path, configured));
  }
  auto keys = store::load_key_file(path);
  if (!keys)
    return tl::unexpected(core::Error{keys.error().code, loaded.where(k_key_file) + keys.error().what});
  auto ring = store::KeyRing::create(*keys, path);
  if (!ring)
    return tl::unexpected(core::Error{ring.error().code, loaded.where(k_key_file) + ring.error().what});
  return NamedKeys{std::move(*keys), std::move(*ring), path, path != configured};
}

core::Result<> check_passwords(const LoadedConfig& loaded) {
  const core::Config& config = loaded.config;
  for (std::size_t i = 0; i < config.relays.size(); ++i) {
    const core::RelayConfig& relay = config.relays[i];
    if (!authenticates(relay)) continue;
    const auto good = check_password(loaded, fmt::format("relay[{}].password_file", i),
                                     fmt::format("relay \"{}\"", relay.name), password_file_of(relay));
    if (!good) return good;
  }
  if (!config.bounces) return {};
  return check_password(loaded, "bounces.password_file", "[bounces]", password_file_of(*config.bounces));
}

core::Result<> check_named_files(const LoadedConfig& loaded) {
  if (const auto keys = load_named_keys(loaded); !keys) return tl::unexpected(keys.error());
  if (auto passwords = check_passwords(loaded); !passwords) return passwords;
  return check_senders(loaded);
}

}  // namespace mailotp::daemon
