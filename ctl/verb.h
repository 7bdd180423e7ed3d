// What the verbs are made of. A verb is one function, carry_out(), in verbs_<subject>.cpp; verbs.cpp chooses
// it.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "ctl/answers.h"
#include "ctl/command_line.h"
#include "ctl/daemon_client.h"
#include "ctl/exit_code.h"
#include "ctl/table.h"
#include "ctl/text.h"

namespace mailotp::ctl {

// One verb that is carried out: what was asked, and where it is shown.
struct Run {
  const CommandLine& command;
  const Screen& screen;

  // On stdout. An error of it (a full disk, a closed pipe) is found once, at the end, by main.
  void print(const std::string& text) const;
  [[nodiscard]] bool for_programs() const { return command.output == Output::json_lines; }
};

[[nodiscard]] Attempt<void> carry_out(const ShowStatus& show, const Run& run);
[[nodiscard]] Attempt<void> carry_out(const ListOutbox& list, const Run& run);
[[nodiscard]] Attempt<void> carry_out(const ShowMessage& show, const Run& run);
[[nodiscard]] Attempt<void> carry_out(const OrderMessages& orders, const Run& run);
[[nodiscard]] Attempt<void> carry_out(const FlushOutbox& flush, const Run& run);
[[nodiscard]] Attempt<void> carry_out(const ShowChallenge& show, const Run& run);
[[nodiscard]] Attempt<void> carry_out(const ShowTimeline& show, const Run& run);
[[nodiscard]] Attempt<void> carry_out(const ListRelays& list, const Run& run);
[[nodiscard]] Attempt<void> carry_out(const TestRelay& test, const Run& run);
[[nodiscard]] Attempt<void> carry_out(const OrderRelay& order, const Run& run);
[[nodiscard]] Attempt<void> carry_out(const ListBounces& list, const Run& run);
[[nodiscard]] Attempt<void> carry_out(const ListSuppressions& list, const Run& run);
[[nodiscard]] Attempt<void> carry_out(const Suppress& suppress, const Run& run);
[[nodiscard]] Attempt<void> carry_out(const Unsuppress& suppress, const Run& run);
[[nodiscard]] Attempt<void> carry_out(const Erase& erase, const Run& run);
[[nodiscard]] Attempt<void> carry_out(const Reload& reload, const Run& run);
[[nodiscard]] Attempt<void> carry_out(const MakeKey& make, const Run& run);
[[nodiscard]] Attempt<void> carry_out(const CheckConfig& check, const Run& run);

// An answer that is not of the shape that every version has.
[[nodiscard]] tl::unexpected<Failure> strange(const core::Error& error);

// The body of a GET that is answered with 2xx.
[[nodiscard]] Attempt<std::string> get_ok(DaemonClient& client, const std::string& target);

// An answer for a program: one object; the items of a page, which gives the cursor of the next one.
[[nodiscard]] Attempt<void> print_object_line(const Run& run, const std::string& body);
[[nodiscard]] Attempt<std::string> print_item_lines(const Run& run, const std::string& body);

// GET of one object, shown by `show`, which reads it with `read`.
template <class T>
[[nodiscard]] Attempt<void> show_one(const Run& run, const std::string& target,
                                     core::Result<T> (*read)(std::string_view),
                                     std::string (*show)(const T&, const Screen&)) {
  DaemonClient client(run.command.socket);
  const auto body = get_ok(client, target);
  if (!body) return tl::unexpected(body.error());
  if (run.for_programs()) return print_object_line(run, *body);
  const auto value = read(*body);
  if (!value) return strange(value.error());
  run.print(show(*value, run.screen));
  return {};
}

// How a list is shown to people.
template <class T>
struct Rows {
  std::string (*head)(const Screen&);
  core::Result<PageInfo<T>> (*read)(std::string_view);
  std::string (*rows)(const std::vector<T>&, const Screen&);
};

// Gives the cursor of the next page.
template <class T>
[[nodiscard]] Attempt<std::string> print_page(const Run& run, const std::string& body, const Rows<T>& rows) {
  if (run.for_programs()) return print_item_lines(run, body);
  auto page = rows.read(body);
  if (!page) return strange(page.error());
  run.print(rows.rows(page->items, run.screen));
  return std::move(page->next_cursor);
}

// `target` gives the request for the page at a cursor.
template <class T, class Target>
[[nodiscard]] Attempt<void> print_list(const Run& run, std::string cursor, Paging paging,
                                       const Target& target, const Rows<T>& rows) {
  DaemonClient client(run.command.socket);
  std::string head = run.for_programs() ? "" : rows.head(run.screen);
  do {
    const auto body = get_ok(client, target(cursor));
    if (!body) return tl::unexpected(body.error());
    run.print(std::exchange(head, ""));  // not above an error
    auto next = print_page(run, *body, rows);
    if (!next) return tl::unexpected(std::move(next.error()));
    if (*next == cursor && !cursor.empty())
      return tl::unexpected(Failure{ExitCode::refused, "the daemon's list does not end"});
    cursor = std::move(*next);
  } while (paging == Paging::all_pages && !cursor.empty());
  // For a program stdout is rows and nothing else.
  if (!cursor.empty()) {
    const std::string more = fmt::format("more: --cursor {}\n", printable(cursor));
    if (run.for_programs())
      (void)std::fputs(more.c_str(), stderr);
    else
      run.print(more);
  }
  return {};
}

}  // namespace mailotp::ctl
