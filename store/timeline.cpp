#include "store/timeline.h"

#include <fmt/format.h>

namespace mailotp::store {

using core::Result;

Result<core::Answer> note_refusal(Transaction& tx, const core::NoteRefusal& command) {
  Transaction::About about{command.app, command.challenge, {}, {}};
  if (!command.challenge && command.recipient) {
    const auto recipient = tx.recipient(*command.recipient);
    if (!recipient) return tl::unexpected(recipient.error());
    about.recipient = *recipient;
  }
  Detail detail;
  detail.add("code", command.code);
  if (!command.purpose.empty()) detail.add("purpose", command.purpose);
  if (const auto& limit = command.limit)
    detail.add("limit", limit->name)
        .add("max", limit->max)
        .add("period_seconds", std::int64_t{limit->period.count()})
        .add("reset_at", core::format_rfc3339(limit->reset_at));
  if (!command.detail.empty()) detail.add("why", command.detail);
  if (command.times > 1) detail.add("times", command.times);
  const Cause cause{command.at, command.actor};
  if (auto noted = tx.append(RecipientNews::refused, about, cause, detail.take()); !noted)
    return tl::unexpected(noted.error());
  return core::Done{};
}

namespace {

Rows select(Prepared<ReaderSql, k_reader_statements>& sql, const TimelineOf& of, std::int64_t after,
            int limit) {
  if (of.recipient) return sql[ReaderSql::timeline_of_recipient].select(after, limit, *of.recipient);
  return sql[ReaderSql::timeline_of].select(after, limit, of.subject);
}

}  // namespace

Result<core::PageOf<core::TimelineItem>> read_timeline(Prepared<ReaderSql, k_reader_statements>& sql,
                                                       const TimelineOf& of, std::int64_t after, int limit) {
  core::PageOf<core::TimelineItem> out;
  std::int64_t last = after;
  Rows rows = select(sql, of, after, limit + 1);
  for (int seen = 0;; ++seen) {
    const auto found = rows.next();
    if (!found) return tl::unexpected(found.error());
    if (!*found) return out;
    if (seen == limit) break;
    last = rows.integer(0);
    // One that cannot be read, of a version to come or by damage, does not hide the others.
    auto event = read_event(rows);
    if (!event) continue;
    if (of.message && event->message && *event->message != *of.message) continue;
    out.items.push_back({*std::move(event), std::string(rows.text(9)), std::string(rows.text(10)),
                         std::string(rows.text(11))});
  }
  out.next_cursor = fmt::format("{:x}", last);
  return out;
}

}  // namespace mailotp::store
