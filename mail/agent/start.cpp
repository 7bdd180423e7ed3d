#include "mail/agent/start.h"

#include <array>
#include <charconv>
#include <csignal>

#include <fcntl.h>
#include <poll.h>

#include "mail/agent/confine.h"

namespace mailotp::mail {

std::optional<Descriptors> descriptors_of(int count, char** words) {
  Descriptors given;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string_view name = words[i];
    const std::string_view value = words[i + 1];
    int number = -1;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size() || number <= 2) return std::nullopt;
    if (::fcntl(number, F_GETFD) < 0) return std::nullopt;
    if (name == "--channel")
      given.channel = number;
    else if (name == "--lock")
      given.lock = number;
    else
      return std::nullopt;
  }
  if (count != 5 || given.channel < 0 || given.lock < 0 || given.channel == given.lock) return std::nullopt;
  return given;
}

core::Result<> stand_alone(const Descriptors& given) {
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT})
    (void)std::signal(signal, SIG_IGN);
  if (auto closed = close_all_but(std::array{given.channel, given.lock}); !closed) return closed;
  return give_up_privileges();
}

core::Result<std::optional<std::string_view>> first_frame(channel::FrameSocket& channel) {
  while (true) {
    auto frame = channel.next();
    if (!frame || *frame) return frame;
    pollfd wait{channel.descriptor(), POLLIN, 0};
    (void)::poll(&wait, 1, -1);  // whatever ended the wait, receive() finds out
    if (channel.receive() == channel::FrameSocket::Received::end) return std::nullopt;
  }
}

}  // namespace mailotp::mail
