#include "ctl/verbs.h"

#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "ctl/answers.h"
#include "ctl/backup.h"
#include "ctl/check_config.h"
#include "ctl/confirm.h"
#include "ctl/daemon_client.h"
#include "ctl/keygen.h"
#include "ctl/show.h"
#include "ctl/text.h"

namespace mailotp::ctl {
namespace {

// An error of stdout (a full disk, a closed pipe) is found once, at the end, by main.
void print(const std::string& text) {
  (void)std::fwrite(text.data(), 1, text.size(), stdout);
}

tl::unexpected<Failure> strange(const core::Error& error) {
  return tl::unexpected(Failure{ExitCode::refused, "the daemon's answer cannot be read: " + error.what});
}

Attempt<std::string> get_ok(DaemonClient& client, const std::string& target) {
  auto reply = client.get(target);
  if (!reply) return tl::unexpected(std::move(reply.error()));
  if (reply->status < 200 || reply->status > 299) return tl::unexpected(failure_of(*reply));
  return std::move(reply->body);
}

// GET of one object, shown by `show`, which reads it with `read`.
template <class T>
Attempt<void> show_one(const CommandLine& command, const std::string& target, const Screen& screen,
                       core::Result<T> (*read)(std::string_view),
                       std::string (*show)(const T&, const Screen&)) {
  DaemonClient client(command.socket);
  const auto body = get_ok(client, target);
  if (!body) return tl::unexpected(body.error());
  if (command.output == Output::json_lines) {
    const auto line = object_line(*body);
    if (!line) return strange(line.error());
    print(*line + "\n");
    return {};
  }
  const auto value = read(*body);
  if (!value) return strange(value.error());
  print(show(*value, screen));
  return {};
}

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

struct Verbs {
  const CommandLine& command;
  const Screen& screen;

  Attempt<void> operator()(const ShowStatus&) const {
    DaemonClient client(command.socket);
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
    return command.output == Output::json_lines ? print_status_line(*daemon, *ready, *stats, *relays, *keys)
                                                : print_status(*daemon, *ready, *stats, *relays, *keys);
  }

  Attempt<void> operator()(const ListOutbox& list) const {
    const auto target = [&list](const std::string& cursor) {
      return target_of("/v1/outbox", {{"state", list.state},
                                      {"recipient", list.recipient},
                                      {"app", list.app},
                                      {"relay", list.relay},
                                      {"limit", std::to_string(list.limit)},
                                      {"cursor", cursor}});
    };
    return print_list(list.cursor, list.paging, target,
                      Rows<MessageInfo>{outbox_head, read_outbox, outbox_rows});
  }

  Attempt<void> operator()(const ListBounces& list) const {
    const auto target = [&list](const std::string& cursor) {
      return target_of("/v1/bounces", {{"recipient", list.recipient},
                                       {"class", list.bounce_class},
                                       {"kind", list.kind},
                                       {"app", list.app},
                                       {"limit", std::to_string(list.limit)},
                                       {"cursor", cursor}});
    };
    return print_list(list.cursor, list.paging, target,
                      Rows<BounceInfo>{bounces_head, read_bounces, bounces_rows});
  }

  Attempt<void> operator()(const ListSuppressions& list) const {
    const auto target = [&list](const std::string& cursor) {
      return target_of(
          "/v1/suppressions",
          {{"recipient", list.recipient}, {"limit", std::to_string(list.limit)}, {"cursor", cursor}});
    };
    return print_list(list.cursor, list.paging, target,
                      Rows<SuppressionInfo>{suppressions_head, read_suppressions, suppressions_rows});
  }

  Attempt<void> operator()(const Suppress& suppress) const {
    DaemonClient client(command.socket);
    auto reply = client.put("/v1/suppressions/" + encoded(suppress.address),
                            suppression_body(suppress.bounce_class, suppress.until));
    if (!reply) return tl::unexpected(std::move(reply.error()));
    if (reply->status != 200) return tl::unexpected(failure_of(*reply));
    if (command.output == Output::json_lines) return print_object_line(reply->body);
    const auto suppression = read_suppression(reply->body);
    if (!suppression) return strange(suppression.error());
    print(suppressions_head(screen) + suppressions_rows({*suppression}, screen));
    return {};
  }

  Attempt<void> operator()(const Unsuppress& suppress) const {
    DaemonClient client(command.socket);
    auto reply = client.remove("/v1/suppressions/" + encoded(suppress.address));
    if (!reply) return tl::unexpected(std::move(reply.error()));
    if (reply->status != 200) return tl::unexpected(failure_of(*reply));
    if (command.output == Output::json_lines) return print_object_line(reply->body);
    print(fmt::format("{}: mail goes to it again\n", printable(suppress.address)));
    return {};
  }

  Attempt<void> operator()(const ShowMessage& show) const {
    return show_one(command, "/v1/outbox/" + core::to_string(show.id), screen, read_message, show_message);
  }

  // Each is tried, also after one that was refused; a daemon that cannot be asked is the end.
  Attempt<void> operator()(const OrderMessages& orders) const {
    if (orders.confirm == Confirm::ask) {
      const std::size_t count = orders.ids.size();
      auto sure = confirm(count == 1 ? fmt::format("Cancel message {}?", core::to_string(orders.ids[0]))
                                     : fmt::format("Cancel {} messages?", count));
      if (!sure) return sure;
    }
    DaemonClient client(command.socket);
    std::string head = command.output == Output::people ? outbox_head(screen) : "";
    std::size_t refused = 0;
    for (const core::Id& id : orders.ids) {
      auto done = order_message(client, id, orders.order, head);
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

  Attempt<void> operator()(const FlushOutbox&) const {
    DaemonClient client(command.socket);
    auto reply = client.post("/v1/outbox/flush");
    if (!reply) return tl::unexpected(std::move(reply.error()));
    if (reply->status != 200) return tl::unexpected(failure_of(*reply));
    if (command.output == Output::json_lines) return print_object_line(reply->body);
    const auto messages = read_flushed(reply->body);
    if (!messages) return strange(messages.error());
    print(*messages == 0
              ? std::string("nothing was deferred\n")
              : fmt::format("{} {} tried now\n", *messages, *messages == 1 ? "message is" : "messages are"));
    return {};
  }

  Attempt<void> operator()(const ShowChallenge& show) const {
    return show_one(command, "/v1/challenges/" + core::to_string(show.id), screen, read_challenge,
                    show_challenge);
  }

  Attempt<void> operator()(const ListRelays&) const {
    DaemonClient client(command.socket);
    const auto body = get_ok(client, "/v1/relays");
    if (!body) return tl::unexpected(body.error());
    if (command.output == Output::json_lines) return print_item_lines(*body).map([](const std::string&) {});
    const auto page = read_relays(*body);
    if (!page) return strange(page.error());
    print(show_relays(page->items, screen));
    return {};
  }

  Attempt<void> operator()(const TestRelay& test) const {
    DaemonClient client(command.socket);
    auto reply = client.post("/v1/relays/" + encoded(test.name) + "/test");
    if (!reply) return tl::unexpected(std::move(reply.error()));
    if (reply->status != 200) return tl::unexpected(failure_of(*reply));
    const auto result = read_relay_test(reply->body);
    if (!result) return strange(result.error());
    if (command.output == Output::json_lines) {
      const auto line = object_line(reply->body);
      if (!line) return strange(line.error());
      print(*line + "\n");
    } else {
      print(show_relay_test(*result, screen));
    }
    if (result->ok) return {};
    return tl::unexpected(
        Failure{ExitCode::refused, fmt::format("relay {} cannot be used as it is", printable(test.name))});
  }

  Attempt<void> operator()(const OrderRelay& order) const {
    DaemonClient client(command.socket);
    const std::string_view what = order.order == RelayOrder::suspend ? "suspend" : "resume";
    auto reply = client.post(fmt::format("/v1/relays/{}/{}", encoded(order.name), what));
    if (!reply) return tl::unexpected(std::move(reply.error()));
    if (reply->status != 200) return tl::unexpected(failure_of(*reply));
    if (command.output == Output::json_lines) return print_object_line(reply->body);
    const auto relay = read_relay(reply->body);
    if (!relay) return strange(relay.error());
    print(show_relays({*relay}, screen));
    return {};
  }

  Attempt<void> operator()(const Erase& erase) const {
    if (erase.confirm == Confirm::ask) {
      auto sure = confirm(fmt::format("Erase {} from everything that is kept?", printable(erase.address)));
      if (!sure) return sure;
    }
    DaemonClient client(command.socket);
    auto reply = client.post("/v1/erase", erase_body(erase.address));
    if (!reply) return tl::unexpected(std::move(reply.error()));
    if (reply->status != 200) return tl::unexpected(failure_of(*reply));
    if (command.output == Output::json_lines) return print_object_line(reply->body);
    const auto rows = read_erased(reply->body);
    if (!rows) return strange(rows.error());
    print(fmt::format(
        "{}: {}\n", printable(erase.address),
        *rows == 0 ? std::string("nothing was kept of it") : fmt::format("erased, with {} rows", *rows)));
    return {};
  }

  Attempt<void> operator()(const Reload&) const {
    DaemonClient client(command.socket);
    auto reply = client.post("/v1/reload");
    if (!reply) return tl::unexpected(std::move(reply.error()));
    if (reply->status != 200) return tl::unexpected(failure_of(*reply));
    if (command.output == Output::json_lines) return print_object_line(reply->body);
    const auto done = read_reload(reply->body);
    if (!done) return strange(done.error());
    print(show_reload(*done));
    return {};
  }

  Attempt<void> operator()(const Backup& backup) const {
    DaemonClient client(command.socket);
    const auto done = back_up(client, backup.file);
    if (!done) return tl::unexpected(done.error());
    print(command.output == Output::json_lines ? backup_line(backup.file, done->bytes, done->seconds) + "\n"
                                               : show_backup(backup.file, *done));
    return {};
  }

  Attempt<void> operator()(const MakeKey& make) const {
    if (auto made = make_key_file(make.file); !made) return made;
    print(fmt::format("{}: made, readable by its owner only; the user that mailotpd runs as must own it\n",
                      printable(make.file)));
    return {};
  }

  Attempt<void> operator()(const CheckConfig& check) const {
    return tl::unexpected(become_config_check(check.file));
  }

 private:
  // How a list is shown to people.
  template <class T>
  struct Rows {
    std::string (*head)(const Screen&);
    core::Result<PageInfo<T>> (*read)(std::string_view);
    std::string (*rows)(const std::vector<T>&, const Screen&);
  };

  // `target` gives the request for the page at a cursor.
  template <class T, class Target>
  Attempt<void> print_list(std::string cursor, Paging paging, const Target& target,
                           const Rows<T>& rows) const {
    DaemonClient client(command.socket);
    std::string head = command.output == Output::people ? rows.head(screen) : "";
    do {
      const auto body = get_ok(client, target(cursor));
      if (!body) return tl::unexpected(body.error());
      print(std::exchange(head, ""));  // not above an error
      auto next = print_page(*body, rows);
      if (!next) return tl::unexpected(std::move(next.error()));
      if (*next == cursor && !cursor.empty())
        return tl::unexpected(Failure{ExitCode::refused, "the daemon's list does not end"});
      cursor = std::move(*next);
    } while (paging == Paging::all_pages && !cursor.empty());
    // For a program stdout is rows and nothing else.
    if (!cursor.empty()) {
      const std::string more = fmt::format("more: --cursor {}\n", printable(cursor));
      if (command.output == Output::people)
        print(more);
      else
        (void)std::fputs(more.c_str(), stderr);
    }
    return {};
  }

  // `head` stands above the first row only.
  Attempt<void> order_message(DaemonClient& client, const core::Id& id, core::MessageOrder order,
                              std::string& head) const {
    auto reply = client.post(fmt::format("/v1/outbox/{}/{}", core::to_string(id), core::to_string(order)));
    if (!reply) return tl::unexpected(std::move(reply.error()));
    if (reply->status != 200) return tl::unexpected(failure_of(*reply));
    if (command.output == Output::json_lines) return print_object_line(reply->body);
    const auto message = read_message(reply->body);
    if (!message) return strange(message.error());
    print(std::exchange(head, "") + outbox_rows({message->message}, screen));
    return {};
  }

  static Attempt<void> print_object_line(const std::string& body) {
    const auto line = object_line(body);
    if (!line) return strange(line.error());
    print(*line + "\n");
    return {};
  }

  static Attempt<void> print_status_line(const std::string& daemon, const std::string& ready,
                                         const std::string& stats, const std::string& relays,
                                         const std::string& keys) {
    const auto line = status_line(daemon, ready, stats, relays, keys);
    if (!line) return strange(line.error());
    print(*line + "\n");
    return {};
  }

  Attempt<void> print_status(const std::string& daemon, const std::string& ready, const std::string& stats,
                             const std::string& relays, const std::string& keys) const {
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
    print(show_status(status, screen));
    return {};
  }

  // Gives the cursor of the next page.
  static Attempt<std::string> print_item_lines(const std::string& body) {
    auto page = item_lines(body);
    if (!page) return strange(page.error());
    for (const std::string& line : page->items)
      print(line + "\n");
    return std::move(page->next_cursor);
  }

  // Gives the cursor of the next page.
  template <class T>
  Attempt<std::string> print_page(const std::string& body, const Rows<T>& rows) const {
    if (command.output == Output::json_lines) return print_item_lines(body);
    auto page = rows.read(body);
    if (!page) return strange(page.error());
    print(rows.rows(page->items, screen));
    return std::move(page->next_cursor);
  }
};

}  // namespace

Attempt<void> run(const CommandLine& command, const Screen& screen) {
  return std::visit(Verbs{command, screen}, command.verb);
}

}  // namespace mailotp::ctl
