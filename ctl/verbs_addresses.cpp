#include <utility>

#include <fmt/format.h>

#include "ctl/confirm.h"
#include "ctl/show.h"
#include "ctl/text.h"
#include "ctl/verb.h"

namespace mailotp::ctl {

Attempt<void> carry_out(const ListBounces& list, const Run& run) {
  const auto target = [&list](const std::string& cursor) {
    return target_of("/v1/bounces", {{"recipient", list.recipient},
                                     {"class", list.bounce_class},
                                     {"kind", list.kind},
                                     {"app", list.app},
                                     {"limit", std::to_string(list.limit)},
                                     {"cursor", cursor}});
  };
  return print_list(run, list.cursor, list.paging, target,
                    Rows<BounceInfo>{bounces_head, read_bounces, bounces_rows});
}

Attempt<void> carry_out(const ListSuppressions& list, const Run& run) {
  const auto target = [&list](const std::string& cursor) {
    return target_of(
        "/v1/suppressions",
        {{"recipient", list.recipient}, {"limit", std::to_string(list.limit)}, {"cursor", cursor}});
  };
  return print_list(run, list.cursor, list.paging, target,
                    Rows<SuppressionInfo>{suppressions_head, read_suppressions, suppressions_rows});
}

Attempt<void> carry_out(const Suppress& suppress, const Run& run) {
  DaemonClient client(run.command.socket);
  auto reply = client.put("/v1/suppressions/" + encoded(suppress.address),
                          suppression_body(suppress.bounce_class, suppress.until));
  if (!reply) return tl::unexpected(std::move(reply.error()));
  if (reply->status != 200) return tl::unexpected(failure_of(*reply));
  if (run.for_programs()) return print_object_line(run, reply->body);
  const auto suppression = read_suppression(reply->body);
  if (!suppression) return strange(suppression.error());
  run.print(suppressions_head(run.screen) + suppressions_rows({*suppression}, run.screen));
  return {};
}

Attempt<void> carry_out(const Unsuppress& suppress, const Run& run) {
  DaemonClient client(run.command.socket);
  auto reply = client.remove("/v1/suppressions/" + encoded(suppress.address));
  if (!reply) return tl::unexpected(std::move(reply.error()));
  if (reply->status != 200) return tl::unexpected(failure_of(*reply));
  if (run.for_programs()) return print_object_line(run, reply->body);
  run.print(fmt::format("{}: mail goes to it again\n", printable(suppress.address)));
  return {};
}

Attempt<void> carry_out(const Erase& erase, const Run& run) {
  if (erase.confirm == Confirm::ask) {
    auto sure = confirm(fmt::format("Erase {} from everything that is kept?", printable(erase.address)));
    if (!sure) return sure;
  }
  DaemonClient client(run.command.socket);
  auto reply = client.post("/v1/erase", erase_body(erase.address));
  if (!reply) return tl::unexpected(std::move(reply.error()));
  if (reply->status != 200) return tl::unexpected(failure_of(*reply));
  if (run.for_programs()) return print_object_line(run, reply->body);
  const auto rows = read_erased(reply->body);
  if (!rows) return strange(rows.error());
  run.print(fmt::format(
      "{}: {}\n", printable(erase.address),
      *rows == 0 ? std::string("nothing was kept of it") : fmt::format("erased, with {} rows", *rows)));
  return {};
}

}  // namespace mailotp::ctl
