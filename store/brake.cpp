#include "store/brake.h"

#include <algorithm>

#include "store/limits.h"

namespace mailotp::store {

using core::Result;
using core::WallTime;

namespace {

// As it is in this transaction.
core::BrakeCounts& counts_of(Transaction& tx, const std::string& app, WallTime at) {
  core::BrakeCounts& counts = tx.brakes().counts(app);
  const WallTime now = tx.even(at);
  counts.keep_between(core::first_brake_slot(tx.writer().rules->brake, now), now + k_ahead);
  return counts;
}

Result<> count(Transaction& tx, const std::string& app, const core::BrakeCount& more, WallTime at) {
  const core::BrakeConfig& brake = tx.writer().rules->brake;
  const core::BrakeSlot slot{core::brake_slot(brake, tx.even(at)), more};
  counts_of(tx, app, at).add(slot);
  tx.brakes().note(app, slot);
  return {};
}

Result<> tell(Transaction& tx, core::BrakeNews news, const Cause& cause) {
  Detail detail;
  detail.add("sends", news.count.sends).add("right_codes", news.count.right_codes);
  if (auto logged = tx.append(news.on ? AppNews::braked : AppNews::released, news.app, cause, detail.take());
      !logged)
    return logged;
  tx.brakes().tell(std::move(news));
  return {};
}

}  // namespace

Result<> load_brakes(Writer& writer) {
  Rows rows = writer.sql[WriterSql::brake_all].select();
  for (;;) {
    const auto more = rows.next();
    if (!more) return tl::unexpected(more.error());
    if (!*more) return {};
    writer.brake_book.counts[std::string(rows.text(0))].add(
        {rows.time(1), {rows.integer(2), rows.integer(3)}});
  }
}

Result<std::optional<core::Refusal>> refuse_braked(Transaction& tx, const std::string& app,
                                                   const std::string& device, const Cause& cause) {
  const core::BrakeConfig& brake = tx.writer().rules->brake;
  const core::BrakeCounts& counts = counts_of(tx, app, cause.at);
  const core::BrakeCount total = counts.total();
  const bool on = is_braked(brake, total);
  core::BrakeNews news{app, on, total, on ? counts.passes_at(brake) + tx.shifted() : cause.at};
  if (on != tx.brakes().is_on(app)) {
    if (auto told = tell(tx, news, cause); !told) return tl::unexpected(told.error());
  }
  if (!on) return std::optional<core::Refusal>{};
  const auto known = is_known_device(tx, device, cause.at);
  if (!known) return tl::unexpected(known.error());
  if (*known) return std::optional<core::Refusal>{};
  core::Refusal out;
  out.kind = core::RefusalKind::rate_limited;
  out.retry_after = news.until - cause.at;
  out.limit = core::Limit{std::string(core::k_limit_brake),
                          std::max<std::int64_t>(brake.floor, total.right_codes * brake.ratio), brake.period,
                          news.until};
  return std::optional(std::move(out));
}

Result<> count_sent_code(Transaction& tx, const std::string& app, WallTime at) {
  return count(tx, app, {1, 0}, at);
}

Result<> count_right_code(Transaction& tx, const std::string& app, WallTime at) {
  return count(tx, app, {0, 1}, at);
}

Result<> look_at_brakes(Transaction& tx, const Cause& cause) {
  for (const std::string& app : tx.brakes().all_on()) {
    const core::BrakeCount total = counts_of(tx, app, cause.at).total();
    if (is_braked(tx.writer().rules->brake, total)) continue;
    if (auto told = tell(tx, {app, false, total, cause.at}, cause); !told) return told;
  }
  return {};
}

}  // namespace mailotp::store
