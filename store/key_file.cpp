#include "store/key_file.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mailotp::store {

using core::Errc;
using core::Result;
using core::Secret;

namespace {

constexpr std::size_t k_max_file = 64 * 1024;

std::string_view trim(std::string_view line) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!line.empty() && blank(line.front()))
    line.remove_prefix(1);
  while (!line.empty() && blank(line.back()))
    line.remove_suffix(1);
  return line;
}

int nibble(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Empty when the line is no key.
Secret decode(std::string_view line) {
  if (line.size() != 2 * k_master_key_size) return {};
  std::string key(k_master_key_size, '\0');
  bool good = true;
  for (std::size_t i = 0; i < key.size(); ++i) {
    const int high = nibble(line[2 * i]);
    const int low = nibble(line[2 * i + 1]);
    good = good && high >= 0 && low >= 0;
    key[i] = static_cast<char>(high << 4 | low);
  }
  Secret out(std::move(key));
  return good ? std::move(out) : Secret{};
}

Result<Secret> read_all(int fd, const std::string& path) {
  std::string text(k_max_file + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(fd, text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return core::fail(Errc::io, fmt::format("{}: {}", path, std::strerror(errno)));
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > k_max_file) {
    ::explicit_bzero(text.data(), text.size());
    return core::fail(Errc::malformed, fmt::format("{}: too large for a key file", path));
  }
  text.resize(size);
  return Secret(std::move(text));
}

}  // namespace

Result<std::vector<Secret>> parse_key_file(std::string_view text) {
  std::vector<Secret> keys;
  std::size_t number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = trim(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    ++number;
    if (line.empty() || line.front() == '#') continue;
    Secret key = decode(line);
    if (key.empty())
      return core::fail(Errc::malformed,
                        fmt::format("line {}: not 64 lower-case hexadecimal digits", number));
    for (const Secret& known : keys) {
      if (known.reveal() == key.reveal())
        return core::fail(Errc::malformed, fmt::format("line {}: repeats a key", number));
    }
    keys.push_back(std::move(key));
  }
  if (keys.empty()) return core::fail(Errc::malformed, "no key in the file");
  return keys;
}

Result<std::vector<Secret>> load_key_file(const std::string& path, KeyKeeper keeper) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) return core::fail(Errc::io, fmt::format("{}: {}", path, std::strerror(errno)));
  struct FdCloser {
    int fd;
    ~FdCloser() { ::close(fd); }
  } const closer{fd};
  struct stat file {};
  if (::fstat(fd, &file) != 0) return core::fail(Errc::io, fmt::format("{}: {}", path, std::strerror(errno)));
  if (!S_ISREG(file.st_mode)) return core::fail(Errc::invalid, fmt::format("{}: not a regular file", path));
  const mode_t others = keeper == KeyKeeper::systemd ? 037 : 077;
  if ((file.st_mode & others) != 0)
    return core::fail(Errc::invalid, fmt::format("{}: others than its owner can access it: chmod 600", path));
  const auto text = read_all(fd, path);
  if (!text) return tl::unexpected(text.error());
  auto keys = parse_key_file(text->reveal());
  if (!keys) return core::fail(keys.error().code, fmt::format("{}: {}", path, keys.error().what));
  return keys;
}

}  // namespace mailotp::store
