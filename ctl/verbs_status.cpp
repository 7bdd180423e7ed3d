#include <utility>

#include "ctl/show.h"
#include "ctl/verb.h"

namespace mailotp::ctl {
namespace {

// A page, or "" from a daemon that does not know the call.
Attempt<std::string> get_known(DaemonClient& client, const std::string& target) {
  auto reply = client.get(target);
  if (!reply) return tl::unexpected(std::move(reply.error()));
  return reply->status == 200 ? std::move(reply->body) : std::string();
}

// /readyz says 503 with the same body when the daemon is not ready: that is an answer here.
Attempt<std::string> get_ready(DaemonClient& client) {
  auto reply = client.get("/readyz");
  if (!reply) return tl::unexpected(std::move(reply.error()));
  const bool told = reply->status == 200 || (reply->status == 503 && read_ready(reply->body));
  if (!told) return tl::unexpected(failure_of(*reply));
  return std::move(reply->body);
}

Attempt<void> print_status_line(const Run& run, const std::string& daemon, const std::string& ready,
                                const std::string& stats, const std::string& relays,
                                const std::string& keys) {
  const auto line = status_line(daemon, ready, stats, relays, keys);
  if (!line) return strange(line.error());
  run.print(*line + "\n");
  return {};
}

Attempt<void> print_status(const Run& run, const std::string& daemon, const std::string& ready,
                           const std::string& stats, const std::string& relays, const std::string& keys) {
  StatusInfo status;
  const auto daemon_info = read_daemon(daemon);
  if (!daemon_info) return strange(daemon_info.error());
  const auto ready_info = read_ready(ready);
  if (!ready_info) return strange(ready_info.error());
  const auto stats_info = read_stats(stats);
  if (!stats_info) return strange(stats_info.error());
  if (!relays.empty()) {
    auto page = read_relays(relays);
    if (!page) return strange(page.error());
    status.relays = std::move(page->items);
  }
  if (!keys.empty()) {
    auto page = read_keys(keys);
    if (!page) return strange(page.error());
    status.keys = std::move(page->items);
  }
  status.daemon = *daemon_info;
  status.ready = *ready_info;
  status.stats = *stats_info;
  run.print(show_status(status, run.screen));
  return {};
}

}  // namespace

Attempt<void> carry_out(const ShowStatus&, const Run& run) {
  DaemonClient client(run.command.socket);
  const auto daemon = get_ok(client, "/v1");
  if (!daemon) return tl::unexpected(daemon.error());
  const auto ready = get_ready(client);
  if (!ready) return tl::unexpected(ready.error());
  const auto stats = get_ok(client, "/v1/stats");
  if (!stats) return tl::unexpected(stats.error());
  const auto relays = get_known(client, "/v1/relays");
  if (!relays) return tl::unexpected(relays.error());
  const auto keys = get_known(client, "/v1/keys");
  if (!keys) return tl::unexpected(keys.error());
  return run.for_programs() ? print_status_line(run, *daemon, *ready, *stats, *relays, *keys)
                            : print_status(run, *daemon, *ready, *stats, *relays, *keys);
}

}  // namespace mailotp::ctl
