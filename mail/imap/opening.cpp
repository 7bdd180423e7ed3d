#include "mail/imap/opening.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mail/agent/boot_clock.h"
#include "mail/agent/endpoint.h"
#include "mail/channel/codec.h"

namespace mailotp::mail {
namespace {

constexpr std::size_t k_greeting_bytes = 16 << 10;
constexpr std::size_t k_handshake_bytes = 1 << 20;
constexpr int k_lines = 50;  // before the answer to STARTTLS

core::Error connect_error(const Endpoint& endpoint, int error) {
  const bool late = error == ETIMEDOUT;
  return {late ? core::Errc::timed_out : core::Errc::unavailable,
          "connect to " + to_string(endpoint) + ": " + (late ? "no answer in time" : std::strerror(error))};
}

// A connected non-blocking socket.
core::Result<int> dial(const Endpoint& endpoint, core::Millis time, const StopSignal& stop) {
  const int descriptor = ::socket(endpoint.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return tl::unexpected(connect_error(endpoint, errno));
  const int on = 1;  // a DONE must not wait for the server's acknowledgement of what was before it
  (void)::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  int error = ::connect(descriptor, endpoint.get(), endpoint.length) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    const core::Millis end = since_boot() + time;
    error = ETIMEDOUT;
    while (error == ETIMEDOUT) {
      const core::Millis left = std::min(end, stop.until().value_or(end)) - since_boot();
      if (left.count() <= 0) break;
      std::array<pollfd, 2> wait{
          {{descriptor, POLLOUT, 0}, {stop.until() ? -1 : stop.descriptor(), POLLIN, 0}}};
      (void)::poll(wait.data(), wait.size(), static_cast<int>(left.count()));
      if (wait[0].revents == 0) continue;
      socklen_t size = sizeof error;
      if (::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
      break;
    }
  }
  if (error == 0) return descriptor;
  (void)::close(descriptor);
  return tl::unexpected(connect_error(endpoint, error));
}

// The first address that answers; each gets its share of the time.
core::Result<int> dial_any(const std::vector<Endpoint>& endpoints, const core::MailboxSettings& settings,
                           core::Millis time, const StopSignal& stop) {
  core::Error last{core::Errc::unavailable, "no address"};
  const core::Millis end = since_boot() + time;
  std::size_t left = endpoints.size();
  for (const Endpoint& endpoint : endpoints) {
    if (settings.tls == core::TlsMode::none && !is_loopback(endpoint))
      return core::fail(core::Errc::invalid, "no TLS, and " + to_string(endpoint) + " is not this machine");
    auto descriptor = dial(endpoint, (end - since_boot()) / static_cast<int>(left--), stop);
    if (descriptor) return descriptor;
    last = std::move(descriptor.error());
  }
  return tl::unexpected(std::move(last));
}

// Lines before libetpan is there.
class PlainLines {
 public:
  explicit PlainLines(Wire& wire) : wire_(wire) {}
  // Without its end.
  [[nodiscard]] core::Result<std::string> next() {
    while (true) {
      const std::size_t end = buffer_.find('\n');
      if (end != std::string::npos) {
        std::string line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        if (line.ends_with('\r')) line.pop_back();
        return line;
      }
      std::array<char, 1024> bytes;
      auto size = wire_.read(bytes);
      if (!size) return tl::unexpected(size.error());
      buffer_.append(bytes.data(), *size);
    }
  }
  [[nodiscard]] bool more() const { return !buffer_.empty(); }

 private:
  Wire& wire_;
  std::string buffer_;
};

core::Result<> greet(PlainLines& lines) {
  auto line = lines.next();
  if (!line) return tl::unexpected(line.error());
  if (line->starts_with("* OK") || line->starts_with("* ok")) return {};
  return core::fail(core::Errc::unavailable, "the server greets with: " + channel::printable(*line, 200));
}

core::Result<> ask_starttls(Wire& wire, PlainLines& lines) {
  if (auto sent = wire.write("T1 STARTTLS\r\n"); !sent) return sent;
  for (int i = 0; i < k_lines; ++i) {
    auto line = lines.next();
    if (!line) return tl::unexpected(line.error());
    if (line->starts_with("* ") && !line->starts_with("* BYE")) continue;
    if (!line->starts_with("T1 OK"))
      return core::fail(core::Errc::unavailable, "STARTTLS is refused: " + channel::printable(*line, 200));
    if (lines.more())
      return core::fail(core::Errc::malformed, "bytes behind the answer to STARTTLS: somebody else's");
    return {};
  }
  return core::fail(core::Errc::malformed, "no end of lines before the answer to STARTTLS");
}

}  // namespace

Tried<std::unique_ptr<Wire>> open_wire(const core::MailboxSettings& settings,
                                       const core::MailboxLimits& limits, NameLookup& names,
                                       const StopSignal& stop) {
  core::Result<TlsPtr> tls;
  if (settings.tls != core::TlsMode::none) {
    const auto context = TlsContext::make(settings.ca_file);
    if (!context) return trouble("tls", context.error());
    tls = context->connection(settings.server_name.empty() ? settings.host : settings.server_name);
    if (!tls) return trouble("tls", tls.error());
  }
  const auto endpoints = names.lookup(limits.connect, stop);
  if (!endpoints) return trouble("dns", endpoints.error());
  const auto descriptor = dial_any(*endpoints, settings, limits.connect, stop);
  if (!descriptor) return trouble("connect", descriptor.error());
  auto wire = std::make_unique<Wire>(*descriptor, stop);
  const auto secure = [&]() -> core::Result<> {
    wire->begin(limits.tls, k_handshake_bytes);
    return wire->secure(std::move(*tls));
  };
  if (settings.tls == core::TlsMode::implicit)
    if (auto done = secure(); !done) return trouble("tls", done.error());
  wire->begin(limits.command, k_greeting_bytes);
  PlainLines lines(*wire);
  if (auto greeted = greet(lines); !greeted) return trouble("greeting", greeted.error());
  if (settings.tls == core::TlsMode::starttls) {
    if (auto asked = ask_starttls(*wire, lines); !asked) return trouble("starttls", asked.error());
    if (auto done = secure(); !done) return trouble("tls", done.error());
  } else if (lines.more()) {
    return tl::unexpected(Trouble{"greeting", "the server says more than its greeting", {}});
  }
  return wire;
}

}  // namespace mailotp::mail
