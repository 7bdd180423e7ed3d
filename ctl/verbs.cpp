#include "ctl/verbs.h"

#include <utility>
#include <variant>

#include <fmt/format.h>

#include "ctl/terminal.h"
#include "ctl/verb.h"
#include "ctl/watch.h"

namespace mailotp::ctl {
namespace {

Attempt<void> carry_out(const Run& run) {
  return std::visit([&run](const auto& verb) { return ctl::carry_out(verb, run); }, run.command.verb);
}

Attempt<void> watch(const CommandLine& command) {
  const Between between = command.output == Output::people ? Between::empty_line : Between::nothing;
  return watch(*command.watch, between,
               [&command](const Screen& screen, Interrupts& interrupts) -> Attempt<std::string> {
                 std::string frame;
                 if (auto done = carry_out(Run{command, screen, &frame, &interrupts}); !done)
                   return tl::unexpected(std::move(done.error()));
                 return frame;
               });
}

// A daemon of another version is the likeliest cause of a call that is not known and of an answer that cannot
// be read: said only where it is so.
void look_at_version(Failure& failure, const CommandLine& command) {
  if (failure.doubt != Doubt::version) return;
  DaemonClient client(command.socket);
  const auto reply = client.get("/v1");
  if (!reply) return;
  const auto daemon = read_daemon(reply->body);
  if (reply->status != 200 || !daemon || daemon->version.empty()) {
    failure.what += fmt::format(
        "\n  what answers at {} does not know GET /v1 either: it is no mailotpd that this mailotpctl ({}) "
        "can speak to",
        printable(command.socket), MAILOTP_VERSION);
  } else if (daemon->version != MAILOTP_VERSION) {
    failure.what += fmt::format(
        "\n  the daemon is version {} and this mailotpctl {}: use the mailotpctl that came with the daemon",
        printable(daemon->version), MAILOTP_VERSION);
  }
}

}  // namespace

Attempt<void> run(const CommandLine& command) {
  const Screen screen = current_screen();
  auto done = command.watch ? watch(command) : carry_out(Run{command, screen, nullptr, nullptr});
  if (!done) look_at_version(done.error(), command);
  return done;
}

}  // namespace mailotp::ctl
