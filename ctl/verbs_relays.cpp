#include <utility>

#include <fmt/format.h>

#include "ctl/show.h"
#include "ctl/text.h"
#include "ctl/verb.h"

namespace mailotp::ctl {

Attempt<void> carry_out(const ListRelays&, const Run& run) {
  DaemonClient client(run.command.socket);
  const auto body = get_ok(client, "/v1/relays");
  if (!body) return tl::unexpected(body.error());
  if (run.for_programs()) return print_item_lines(run, *body).map([](const std::string&) {});
  const auto page = read_relays(*body);
  if (!page) return strange(page.error());
  run.print(show_relays(page->items, run.screen));
  return {};
}

Attempt<void> carry_out(const TestRelay& test, const Run& run) {
  DaemonClient client(run.command.socket);
  auto reply = client.post("/v1/relays/" + encoded(test.name) + "/test");
  if (!reply) return tl::unexpected(std::move(reply.error()));
  if (reply->status != 200) return tl::unexpected(failure_of(*reply));
  const auto result = read_relay_test(reply->body);
  if (!result) return strange(result.error());
  if (run.for_programs()) {
    const auto line = object_line(reply->body);
    if (!line) return strange(line.error());
    run.print(*line + "\n");
  } else {
    run.print(show_relay_test(*result, run.screen));
  }
  if (result->ok) return {};
  return tl::unexpected(
      Failure{ExitCode::refused, fmt::format("relay {} cannot be used as it is", printable(test.name))});
}

Attempt<void> carry_out(const OrderRelay& order, const Run& run) {
  DaemonClient client(run.command.socket);
  const std::string_view what = order.order == RelayOrder::suspend ? "suspend" : "resume";
  auto reply = client.post(fmt::format("/v1/relays/{}/{}", encoded(order.name), what));
  if (!reply) return tl::unexpected(std::move(reply.error()));
  if (reply->status != 200) return tl::unexpected(failure_of(*reply));
  if (run.for_programs()) return print_object_line(run, reply->body);
  const auto relay = read_relay(reply->body);
  if (!relay) return strange(relay.error());
  run.print(show_relays({*relay}, run.screen));
  return {};
}

}  // namespace mailotp::ctl
