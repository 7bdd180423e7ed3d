// mailotp-imap: reads the bounce mailbox for mailotpd, which starts it and is the only one to talk to it.
//
//   mailotp-imap --channel 3 --lock 4
//
// --channel is its end of a socketpair (mail/channel), --lock an open lock file (mail/agent/agent_lock.h).
// The first frame must be a hello. It ends after a Drain and when the channel does; the signals of a terminal
// and of a stopping service are for the daemon alone. It writes nothing to stdout, and to stderr only why it
// failed.
//
// Exit status: 0 drained, or the channel ended; 2 usage; 3 no lock; 4 the daemon sent nonsense; 5 it could
// not confine itself; 6 the session did not end in time.
#include <cstdio>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>

#include <uv.h>

#include "core/check.h"
#include "mail/agent/agent_lock.h"
#include "mail/agent/confine.h"
#include "mail/agent/start.h"
#include "mail/channel/frame_socket.h"
#include "mail/channel/mailbox_codec.h"
#include "mail/imap/agent.h"

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
  (void)std::fprintf(stderr, "event=agent_failed program=mailotp-imap error=\"%.*s\"\n",
                     static_cast<int>(why.size()), why.data());
  return code;
}

// Waits for the first frame; nullopt: the channel ended before it.
core::Result<std::optional<core::MailboxHello>> read_hello(channel::FrameSocket& channel) {
  auto frame = first_frame(channel);
  if (!frame) return tl::unexpected(frame.error());
  if (!*frame) return std::nullopt;
  auto order = channel::decode_mailbox_order(**frame);
  if (!order) return tl::unexpected(order.error());
  if (auto* hello = std::get_if<core::MailboxHello>(&*order)) return std::move(*hello);
  return core::fail(core::Errc::malformed, "the first frame is no hello");
}

// Runs until the daemon has no more use for the agent.
int serve(std::unique_ptr<channel::FrameSocket> channel, core::MailboxHello hello,
          core::Confinement confinement) {
  uv_loop_t loop;
  CHECK(uv_loop_init(&loop) == 0);
  std::optional<core::Error> fault;
  {
    ImapAgent agent(&loop, std::move(channel), std::move(hello), confinement);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    fault = agent.fault();
  }
  (void)uv_run(&loop, UV_RUN_DEFAULT);  // the last close callbacks
  CHECK(uv_loop_close(&loop) == 0);
  return fault ? fail(Exit::nonsense, fault->what) : Exit::done;
}

int run(int count, char** words) {
  const std::optional<Descriptors> given = descriptors_of(count, words);
  if (!given) return fail(Exit::usage, "usage: mailotp-imap --channel DESCRIPTOR --lock DESCRIPTOR");
  if (auto alone = stand_alone(*given); !alone) return fail(Exit::not_confined, alone.error().what);
  if (auto locked = take_agent_lock(given->lock); !locked) return fail(Exit::no_lock, locked.error().what);
  auto channel = std::make_unique<channel::FrameSocket>(given->channel, channel::k_max_frame);
  auto hello = read_hello(*channel);
  if (!hello) return fail(Exit::nonsense, hello.error().what);
  if (!*hello) return Exit::done;
  FileRules rules{resolver_and_ca_files(), {}};
  if (const std::string& own = (*hello)->mailbox.ca_file; !own.empty()) rules.read.push_back(own);
  const auto confinement = confine_files(rules);
  if (!confinement) return fail(Exit::not_confined, confinement.error().what);
  return serve(std::move(channel), std::move(**hello), *confinement);
}

}  // namespace
}  // namespace mailotp::mail

int main(int argc, char** argv) {
  return mailotp::mail::run(argc, argv);
}
