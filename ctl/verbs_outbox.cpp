#include <utility>

#include <fmt/format.h>

#include "ctl/confirm.h"
#include "ctl/show.h"
#include "ctl/verb.h"

namespace mailotp::ctl {
namespace {

// `head` stands above the first row only.
Attempt<void> order_message(const Run& run, DaemonClient& client, const core::Id& id,
                            core::MessageOrder order, std::string& head) {
  auto reply = client.post(fmt::format("/v1/outbox/{}/{}", core::to_string(id), core::to_string(order)));
  if (!reply) return tl::unexpected(std::move(reply.error()));
  if (reply->status != 200) return tl::unexpected(failure_of(*reply));
  if (run.for_programs()) return print_object_line(run, reply->body);
  const auto message = read_message(reply->body);
  if (!message) return strange(message.error());
  run.print(std::exchange(head, "") + outbox_rows({message->message}, run.screen));
  return {};
}

}  // namespace

Attempt<void> carry_out(const ListOutbox& list, const Run& run) {
  const auto target = [&list](const std::string& cursor) {
    return target_of("/v1/outbox", {{"state", list.state},
                                    {"recipient", list.recipient},
                                    {"app", list.app},
                                    {"relay", list.relay},
                                    {"limit", std::to_string(list.limit)},
                                    {"cursor", cursor}});
  };
  return print_list(run, list.cursor, list.paging, target,
                    Rows<MessageInfo>{outbox_head, read_outbox, outbox_rows});
}

Attempt<void> carry_out(const ShowMessage& show, const Run& run) {
  return show_one(run, "/v1/outbox/" + core::to_string(show.id), read_message, show_message);
}

// Each is tried, also after one that was refused; a daemon that cannot be asked is the end.
Attempt<void> carry_out(const OrderMessages& orders, const Run& run) {
  if (orders.confirm == Confirm::ask) {
    const std::size_t count = orders.ids.size();
    auto sure = confirm(count == 1 ? fmt::format("Cancel message {}?", core::to_string(orders.ids[0]))
                                   : fmt::format("Cancel {} messages?", count));
    if (!sure) return sure;
  }
  DaemonClient client(run.command.socket);
  std::string head = run.for_programs() ? "" : outbox_head(run.screen);
  std::size_t refused = 0;
  for (const core::Id& id : orders.ids) {
    auto done = order_message(run, client, id, orders.order, head);
    if (done) continue;
    Failure failure{done.error().exit, fmt::format("{}: {}", core::to_string(id), done.error().what)};
    if (failure.exit != ExitCode::refused || orders.ids.size() == 1)
      return tl::unexpected(std::move(failure));
    ++refused;
    (void)std::fflush(stdout);  // before the error, where both go to one place
    (void)std::fprintf(stderr, "mailotpctl: %s\n", failure.what.c_str());
  }
  if (refused == 0) return {};
  return tl::unexpected(
      Failure{ExitCode::refused, fmt::format("{} of {} were refused", refused, orders.ids.size())});
}

Attempt<void> carry_out(const FlushOutbox&, const Run& run) {
  DaemonClient client(run.command.socket);
  auto reply = client.post("/v1/outbox/flush");
  if (!reply) return tl::unexpected(std::move(reply.error()));
  if (reply->status != 200) return tl::unexpected(failure_of(*reply));
  if (run.for_programs()) return print_object_line(run, reply->body);
  const auto messages = read_flushed(reply->body);
  if (!messages) return strange(messages.error());
  run.print(*messages == 0 ? std::string("nothing was deferred\n")
                           : fmt::format("{} {} tried now\n", *messages,
                                         *messages == 1 ? "message is" : "messages are"));
  return {};
}

Attempt<void> carry_out(const ShowChallenge& show, const Run& run) {
  return show_one(run, "/v1/challenges/" + core::to_string(show.id), read_challenge, show_challenge);
}

}  // namespace mailotp::ctl
