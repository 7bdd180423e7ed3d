#include "bench/load_connection.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace mailotp::bench {
namespace {

constexpr std::string_view k_status_line = "HTTP/1.1 200 ";

// Of the daemon's own spelling; "" if it is not there.
std::string_view header(std::string_view head, std::string_view name) {
  const std::string line = fmt::format("\r\n{}: ", name);
  const std::size_t found = head.find(line);
  if (found == std::string_view::npos) return {};
  const std::string_view rest = head.substr(found + line.size());
  return rest.substr(0, rest.find("\r\n"));
}

bool to_number(std::string_view text, std::size_t& out) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && stop == text.data() + text.size();
}

}  // namespace

core::Result<> LoadConnection::open(const std::string& socket_path) {
  close();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) {
    return core::fail(core::Errc::invalid, fmt::format("{}: the path is too long", socket_path));
  }
  std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
  fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd_ < 0 || ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    close();
    return core::fail(core::Errc::unavailable, fmt::format("{}: {}", socket_path, std::strerror(error)));
  }
  return {};
}

void LoadConnection::close() {
  if (fd_ >= 0) (void)::close(std::exchange(fd_, -1));
  input_.clear();
}

bool LoadConnection::send(std::string_view request) {
  while (!request.empty()) {
    const ssize_t sent = ::send(fd_, request.data(), request.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    request.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

LoadConnection::Progress LoadConnection::receive(Answer& answer) {
  std::array<char, 16 * 1024> space;
  for (;;) {
    const ssize_t got = ::recv(fd_, space.data(), space.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return Progress::pending;
    if (got <= 0) return Progress::lost;
    input_.append(space.data(), static_cast<std::size_t>(got));
    const Progress progress = parse(answer);
    if (progress != Progress::pending) return progress;
  }
}

LoadConnection::Progress LoadConnection::parse(Answer& answer) {
  const std::size_t end = input_.find("\r\n\r\n");
  if (end == std::string::npos) return Progress::pending;
  const std::string_view head = std::string_view(input_).substr(0, end);
  std::size_t status = 0;
  std::size_t length = 0;
  if (!head.starts_with("HTTP/1.1 ") || head.size() < k_status_line.size() ||
      !to_number(head.substr(9, 3), status) || !to_number(header(head, "Content-Length"), length)) {
    return Progress::lost;
  }
  if (input_.size() < end + 4 + length) return Progress::pending;
  answer.status = static_cast<int>(status);
  answer.location = std::string(header(head, "Location"));
  input_.erase(0, end + 4 + length);
  return Progress::answered;
}

}  // namespace mailotp::bench
