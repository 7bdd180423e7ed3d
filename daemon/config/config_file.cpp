#include "daemon/config/config_file.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "daemon/config/config_sections.h"
#include "daemon/config/document.h"
#include "daemon/config/findings.h"
#include "daemon/config/identities.h"

namespace mailotp::daemon {
namespace {

using core::Errc;

// A file of 200 apps has 40 KiB; more than this is not a configuration.
constexpr std::size_t k_max_file = 1024UL * 1024;

// Owns a descriptor.
class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) (void)::close(fd_);  // only read from: nothing can be lost
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

core::Result<std::string> read_file(const std::string& path) {
  const auto failed = [&path](int error) {
    return core::fail(error == ENOENT ? Errc::not_found : Errc::io,
                      fmt::format("{}: cannot read the configuration: {}", path, std::strerror(error)));
  };
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return failed(errno);
  std::string text;
  std::array<char, 16'384> block{};
  for (;;) {
    const ssize_t got = ::read(file.get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(errno);
    if (got == 0) return text;
    text.append(block.data(), static_cast<std::size_t>(got));
    if (text.size() > k_max_file)
      return core::fail(Errc::invalid, fmt::format("{}: a configuration has at most 1 MiB", path));
  }
}

// `accounts` null: not asked.
core::Result<LoadedConfig> parse_with(std::string_view text, std::string_view file_name,
                                      const Accounts* accounts) {
  const auto document = parse_document(text, file_name);
  if (!document) return tl::unexpected(document.error());
  Findings findings(file_name);
  LoadedConfig loaded;
  loaded.config = read_sections(*document, findings);
  // A rule between two keys is only worth a line when each of them is right.
  if (findings.clean()) check_rules(loaded.config, findings);
  if (findings.clean() && accounts != nullptr)
    loaded.rules = resolve_apps(loaded.config, *accounts, findings);
  if (!findings.clean()) return tl::unexpected(findings.error());
  loaded.places = findings.seen();
  return loaded;
}

core::Result<LoadedConfig> load_with(const std::string& path, const Accounts* accounts) {
  auto text = read_file(path);
  if (!text) return tl::unexpected(text.error());
  auto loaded = parse_with(*text, path, accounts);
  if (!loaded) return loaded;
  loaded->path = path;
  return loaded;
}

}  // namespace

std::string LoadedConfig::where(const std::string& key) const {
  const Place at = place_of(places, key);
  return fmt::format("{}:{}:{}: ", path, at.line, at.column);
}

core::Result<LoadedConfig> parse_config(std::string_view text, std::string_view file_name) {
  return parse_with(text, file_name, nullptr);
}

core::Result<LoadedConfig> parse_config(std::string_view text, std::string_view file_name,
                                        const Accounts& accounts) {
  return parse_with(text, file_name, &accounts);
}

core::Result<LoadedConfig> load_config(const std::string& path, const Accounts& accounts) {
  return load_with(path, &accounts);
}

core::Result<LoadedConfig> load_config(const std::string& path) {
  return load_with(path, nullptr);
}

}  // namespace mailotp::daemon
