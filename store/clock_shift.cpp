#include "store/clock_shift.h"

#include "store/relay_use.h"

namespace mailotp::store {

using core::Result;

Result<> shift_clock(Transaction& tx, const core::ShiftClock& command) {
  const std::int64_t by = command.by.count();
  if (by != 0) {
    if (auto done = tx.sql(WriterSql::shift_challenges).run(by); !done) return done;
    if (auto done = tx.sql(WriterSql::shift_messages).run(by, core::k_never); !done) return done;
    if (auto done = tx.sql(WriterSql::shift_suppressions).run(by, core::k_never, command.at); !done)
      return done;
    if (auto done = tx.sql(WriterSql::shift_relay_use).run(by, k_relay_use_slots); !done) return done;
    if (auto done = tx.sql(WriterSql::shift_relay_use_back).run(); !done) return done;
  }
  tx.shift(command.by);
  return tx.sql(WriterSql::clock_set)
      .run(command.clock.boot, std::int64_t{command.clock.offset.count()},
           std::int64_t{tx.shifted().count()});
}

Result<> load_shifted(Writer& writer) {
  Rows rows = writer.sql[WriterSql::clock_get].select();
  const auto found = rows.next();
  if (!found) return tl::unexpected(found.error());
  if (*found) writer.shifted = core::Millis{rows.integer(2)};
  return {};
}

Result<std::optional<core::ClockState>> saved_clock(Writer& writer) {
  Rows rows = writer.sql[WriterSql::clock_get].select();
  const auto found = rows.next();
  if (!found) return tl::unexpected(found.error());
  if (!*found) return std::optional<core::ClockState>{};
  return std::optional(core::ClockState{std::string(rows.text(0)), core::Millis{rows.integer(1)}});
}

}  // namespace mailotp::store
