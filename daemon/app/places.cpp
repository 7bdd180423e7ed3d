#include "daemon/app/places.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mailotp::daemon {

namespace {

constexpr std::size_t k_max_password = 4096;  // an OAuth token may be long
constexpr mode_t k_others = 077;
constexpr mode_t k_others_of_credential = 037;

std::string program_directory() {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::string{} : path.parent_path().string();
}

// Where the agents lie beside the daemon it is a build tree, build/<preset>/bin; else they are installed.
bool in_build_tree() {
  return ::access((program_directory() + "/mailotp-smtp").c_str(), X_OK) == 0;
}

// A part of the installation that this program belongs to: all of it is under one prefix, wherever that was
// put.
std::string installed(const std::string& part) {
  const auto prefix = std::filesystem::path(program_directory()).parent_path().string();
  return (prefix.empty() ? "/usr" : prefix) + "/" + part;
}

core::Result<> make_directory(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) == 0 || errno == EEXIST) return {};
  return core::fail(core::Errc::io, fmt::format("{} cannot be made: {}", path, std::strerror(errno)));
}

}  // namespace

std::string credential_or(const std::string& credential, const std::string& file) {
  const char* directory = std::getenv("CREDENTIALS_DIRECTORY");
  if (directory == nullptr) return file;
  std::string path = std::string(directory) + "/" + credential;
  return ::access(path.c_str(), F_OK) == 0 ? path : file;
}

bool is_credential(const std::string& path) {
  const char* directory = std::getenv("CREDENTIALS_DIRECTORY");
  return path.starts_with(k_service_credentials) ||
         (directory != nullptr && path.starts_with(std::string(directory) + "/"));
}

bool authenticates(const core::RelayConfig& relay) {
  return relay.kind == core::RelayKind::smtp && relay.auth != core::AuthMode::none && !relay.username.empty();
}

std::string password_file_of(const core::RelayConfig& relay) {
  return credential_or("relay-" + relay.name + "-password", relay.password_file);
}

std::string password_file_of(const core::BouncesConfig& bounces) {
  return credential_or("imap-password", bounces.password_file);
}

core::Result<core::Secret> read_password(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return core::fail(core::Errc::io, fmt::format("{}: {}", path, std::strerror(errno)));
  struct stat status {};
  std::array<char, k_max_password + 1> bytes{};
  const bool known = ::fstat(fd, &status) == 0;
  const ssize_t got = ::read(fd, bytes.data(), bytes.size());
  const int error = errno;
  (void)::close(fd);
  if (!known || got < 0) return core::fail(core::Errc::io, fmt::format("{}: {}", path, std::strerror(error)));
  if ((status.st_mode & (is_credential(path) ? k_others_of_credential : k_others)) != 0)
    return core::fail(core::Errc::invalid,
                      fmt::format("{}: others than its owner can access it; chmod 600", path));
  std::string text(bytes.data(), static_cast<std::size_t>(got));
  ::explicit_bzero(bytes.data(), bytes.size());
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r'))
    text.pop_back();
  core::Secret password(std::move(text));
  if (password.empty() || password.size() > k_max_password)
    return core::fail(core::Errc::invalid,
                      fmt::format("{}: must hold a password of at most {} bytes", path, k_max_password));
  if (password.reveal().find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos)
    return core::fail(core::Errc::invalid, fmt::format("{}: holds more than one line", path));
  return password;
}

core::RelaySettings settings_of(const core::RelayConfig& relay) {
  core::RelaySettings settings;
  settings.name = relay.name;
  settings.kind = relay.kind;
  settings.directory = relay.directory;
  settings.host = relay.host;
  settings.port = relay.port;
  settings.tls = relay.tls;
  settings.server_name = relay.server_name.empty() ? relay.host : relay.server_name;
  settings.ca_file = relay.ca_file;
  settings.auth = relay.auth;
  settings.username = relay.username;
  settings.max_connections = relay.max_connections;
  return settings;
}

core::MailboxHello mailbox_hello(const core::BouncesConfig& bounces, const core::Config& config) {
  core::MailboxHello hello;
  hello.limits.poll = bounces.poll;
  core::MailboxSettings& mailbox = hello.mailbox;
  mailbox.host = bounces.host;
  mailbox.port = bounces.port;
  mailbox.tls = bounces.tls;
  mailbox.server_name = bounces.server_name.empty() ? bounces.host : bounces.server_name;
  mailbox.ca_file = bounces.ca_file;
  mailbox.auth = bounces.auth;
  mailbox.username = bounces.username;
  mailbox.mailbox = bounces.mailbox;
  mailbox.processed = bounces.processed;
  mailbox.unrecognised = bounces.unrecognised;
  mailbox.bounce_local = config.mail.bounce_address.local;
  mailbox.bounce_domain = config.mail.bounce_address.domain;
  mailbox.keep = config.retention.bounces;
  return hello;
}

std::string agent_program(const std::string& name) {
  return in_build_tree() ? program_directory() + "/" + name : installed("libexec/mailotpd/" + name);
}

std::vector<std::string> template_directories(const core::Config& config) {
  return {
      in_build_tree() ? program_directory() + "/../../../templates" : installed("share/mailotpd/templates"),
      config.daemon.templates};
}

core::Result<> make_directories(const core::Config& config) {
  if (const auto made = make_directory(config.daemon.state_dir, 0700); !made) return made;
  for (const core::RelayConfig& relay : config.relays) {
    if (relay.kind != core::RelayKind::capture) continue;
    for (const char* part : {"", "/tmp", "/new", "/cur"}) {
      if (const auto made = make_directory(relay.directory + part, 0700); !made) return made;
    }
  }
  return {};
}

}  // namespace mailotp::daemon
