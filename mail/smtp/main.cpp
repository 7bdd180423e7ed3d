// mailotp-smtp: submits mails to relays for mailotpd, which starts it and is the only one to talk to it.
//
//   mailotp-smtp --channel 3 --lock 4
//
// --channel is its end of a socketpair (mail/channel), --lock an open lock file (mail/smtp/agent_lock.h). The
// first frame must be a hello. It ends after a Drain and when the channel does; the signals of a terminal and
// of a stopping service are for the daemon alone. It writes nothing to stdout, and to stderr only why it
// failed.
//
// Exit status: 0 drained, or the channel ended; 2 usage; 3 no lock; 4 the daemon sent nonsense; 5 it could
// not confine itself; 6 a relay did not end its sessions in time.
#include <array>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <fcntl.h>
#include <poll.h>
#include <uv.h>

#include "core/check.h"
#include "mail/channel/codec.h"
#include "mail/channel/frame_socket.h"
#include "mail/smtp/agent.h"
#include "mail/smtp/agent_lock.h"
#include "mail/smtp/capture.h"
#include "mail/smtp/confine.h"
#include "mail/smtp/network_relay.h"

#if defined(__SANITIZE_ADDRESS__)
// LeakSanitizer stops a process by ptrace, which one that is not dumpable does not allow.
extern "C" const char* __asan_default_options() {
  return "detect_leaks=0";
}
#endif

namespace mailotp::mail {
namespace {

enum Exit : int { done = 0, usage = 2, no_lock = 3, nonsense = 4, not_confined = 5 };

int fail(Exit code, std::string_view why) {
  (void)std::fprintf(stderr, "event=agent_failed program=mailotp-smtp error=\"%.*s\"\n",
                     static_cast<int>(why.size()), why.data());
  return code;
}

struct Descriptors {
  int channel = -1;
  int lock = -1;
};

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

// Waits for the first frame; nullopt: the channel ended before it.
core::Result<std::optional<core::Hello>> read_hello(channel::FrameSocket& channel) {
  while (true) {
    auto frame = channel.next();
    if (!frame) return tl::unexpected(frame.error());
    if (*frame) {
      auto order = channel::decode_order(**frame);
      if (!order) return tl::unexpected(order.error());
      if (auto* hello = std::get_if<core::Hello>(&*order)) return std::move(*hello);
      return core::fail(core::Errc::malformed, "the first frame is no hello");
    }
    pollfd wait{channel.descriptor(), POLLIN, 0};
    (void)::poll(&wait, 1, -1);  // whatever ended the wait, receive() finds out
    if (channel.receive() == channel::FrameSocket::Received::end) return std::nullopt;
  }
}

FileRules rules_for(const core::Hello& hello) {
  FileRules rules;
  bool network = false;
  for (const core::RelaySettings& relay : hello.relays) {
    if (relay.kind == core::RelayKind::capture) {
      rules.write.push_back(relay.directory);
      continue;
    }
    network = true;
    if (!relay.ca_file.empty()) rules.read.push_back(relay.ca_file);
  }
  if (network) {
    for (std::string& file : resolver_and_ca_files())
      rules.read.push_back(std::move(file));
  }
  return rules;
}

std::unique_ptr<Relay> make_relay(core::RelaySettings settings, const core::Hello& hello, uv_loop_t* loop,
                                  FactSink& facts) {
  switch (settings.kind) {
    case core::RelayKind::capture:
      return std::make_unique<CaptureRelay>(std::move(settings.name), std::move(settings.directory),
                                            hello.hostname, loop, facts);
    case core::RelayKind::smtp:
      return make_network_relay(std::move(settings), hello, loop, facts, Deadlines{hello.limits});
  }
  CHECK(false);  // the decoder lets no other kind through
}

// Runs until the daemon has no more use for the agent.
int serve(std::unique_ptr<channel::FrameSocket> channel, core::Hello hello, core::Confinement confinement) {
  uv_loop_t loop;
  CHECK(uv_loop_init(&loop) == 0);
  std::optional<core::Error> fault;
  {
    Agent agent(&loop, std::move(channel), std::move(hello), confinement, make_relay);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    fault = agent.fault();
  }
  (void)uv_run(&loop, UV_RUN_DEFAULT);  // the last close callbacks
  CHECK(uv_loop_close(&loop) == 0);
  return fault ? fail(Exit::nonsense, fault->what) : Exit::done;
}

int run(int count, char** words) {
  const std::optional<Descriptors> given = descriptors_of(count, words);
  if (!given) return fail(Exit::usage, "usage: mailotp-smtp --channel DESCRIPTOR --lock DESCRIPTOR");
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT})
    (void)std::signal(signal, SIG_IGN);
  if (auto closed = close_all_but(std::array{given->channel, given->lock}); !closed)
    return fail(Exit::not_confined, closed.error().what);
  // Before the hello, which brings passwords.
  if (auto given_up = give_up_privileges(); !given_up) return fail(Exit::not_confined, given_up.error().what);
  if (auto locked = take_agent_lock(given->lock); !locked) return fail(Exit::no_lock, locked.error().what);
  auto channel = std::make_unique<channel::FrameSocket>(given->channel, channel::k_max_frame);
  auto hello = read_hello(*channel);
  if (!hello) return fail(Exit::nonsense, hello.error().what);
  if (!*hello) return Exit::done;
  const auto confinement = confine_files(rules_for(**hello));
  if (!confinement) return fail(Exit::not_confined, confinement.error().what);
  return serve(std::move(channel), std::move(**hello), *confinement);
}

}  // namespace
}  // namespace mailotp::mail

int main(int argc, char** argv) {
  return mailotp::mail::run(argc, argv);
}
