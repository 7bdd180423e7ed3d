// The loop's part of a reload, in one turn: nothing here can fail, and the store has committed its own.
#include <utility>

#include <fmt/format.h>

#include "core/limits.h"
#include "daemon/app/parts.h"

namespace mailotp::daemon {

void App::Parts::take_over(TakenOver& next) {
  const std::shared_ptr<const Configured> before = in_force->hold();
  tokens->replace(*std::move(next.tokens));
  in_force->replace(next.configured);
  reader->tell(
      [limits = core::limit_rules(next.configured->config)](core::StoreReader& to) { to.take_over(limits); });
  take_over_relays(before->config, next.changes);
  take_over_apps(next);
  // Who is which app may have changed: nobody goes on listening as who he was.
  if (next.changes.apps.any() || !(before->rules == next.configured->rules)) {
    waits->answer_all();
    events->end_those_of_apps();
  }
  passwords->watch(password_files());
  if (mailbox && next.changes.imap_agent) mailbox->renew(k_move_grace);
}

// The places of the old agent are taken back before the store is offered other relays.
void App::Parts::take_over_relays(const core::Config& before, const ConfigChanges& changes) {
  const core::Config& config = this->config();
  tally->add_relays(config.relays);
  if (changes.smtp_agent) delivery->renew_agent(before.session.dot);
  if (changes.smtp_agent || changes.relays.any() || !(before.breaker == config.breaker))
    board->take_over(config);
}

void App::Parts::take_over_apps(TakenOver& next) {
  for (const auto& [path, app] : next.sockets_before) {
    const auto after = next.sockets.find(path);
    if (after == next.sockets.end())
      apps_server->close_socket(path);
    else if (after->second != app)
      apps_server->rename(path, after->second);
  }
  for (OpenSocket& socket : next.opened) {
    const std::string path = socket.path();
    const std::string app = socket.app();
    if (const auto added = apps_server->add(socket.release(), app); !added)
      // Out of memory or of what epoll may watch: the kernel's, and this app's alone.
      log.write(core::LogLevel::error,
                fmt::format("event=socket_failed app={} path={} what=\"{}\"", app, path, added.error().what));
  }
}

}  // namespace mailotp::daemon
