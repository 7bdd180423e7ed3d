#include "store/relay_use.h"

#include <algorithm>

namespace mailotp::store {

using core::Result;

namespace {

struct Slots {
  explicit Slots(const core::Rate& rate)
      : period(core::Millis{rate.period}), width(std::max(period / k_relay_use_slots, core::Millis{1})) {}
  [[nodiscard]] std::int64_t at(core::WallTime time) const { return core::to_unix_ms(time) / width.count(); }
  // The last one that no longer counts.
  [[nodiscard]] std::int64_t past(core::WallTime now) const { return at(now - period) - 1; }
  [[nodiscard]] core::WallTime gone(std::int64_t slot) const {
    return core::from_unix_ms((slot + 1) * width.count()) + period;
  }
  core::Millis period;
  core::Millis width;
};

Result<RelayRoom> room(Transaction& tx, const std::string& relay, const core::Rate& rate,
                       core::WallTime now) {
  const Slots slots(rate);
  Rows rows =
      tx.sql(WriterSql::relay_used).select(relay, std::int64_t{slots.period.count()}, slots.past(now));
  const auto found = rows.next();
  if (!found) return tl::unexpected(found.error());
  RelayRoom out;
  out.left = std::max<std::int64_t>(rate.max - rows.integer(0), 0);
  if (out.left == 0) out.until = rows.is_null(1) ? now + slots.width : slots.gone(rows.integer(1));
  return out;
}

Result<> use(Transaction& tx, const std::string& relay, const core::Rate& rate, core::WallTime now) {
  const Slots slots(rate);
  const std::int64_t period{slots.period.count()};
  if (auto old = tx.sql(WriterSql::relay_use_old).run(relay, period, slots.past(now)); !old) return old;
  return tx.sql(WriterSql::relay_use).run(relay, period, slots.at(now), 1);
}

}  // namespace

Result<RelayRoom> relay_room(Transaction& tx, const core::RelayOffer& relay, core::WallTime now) {
  RelayRoom out;
  for (const auto& limit : {relay.rate, relay.quota}) {
    if (!limit) continue;
    const auto one = room(tx, relay.name, *limit, now);
    if (!one) return one;
    out.left = std::min(out.left, one->left);
    // Of two that are used up the later one counts.
    if (one->left == 0) out.until = out.until == core::k_never ? one->until : std::max(out.until, one->until);
  }
  return out;
}

Result<> relay_used(Transaction& tx, const core::RelayOffer& relay, core::WallTime now) {
  for (const auto& limit : {relay.rate, relay.quota}) {
    if (!limit) continue;
    if (auto used = use(tx, relay.name, *limit, now); !used) return used;
  }
  return {};
}

}  // namespace mailotp::store
