#include "store/message_lists.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace mailotp::store {

using core::Errc;
using core::MessageState;
using core::Result;

core::Error pass_over(Transaction& tx, const MessageRecord& m, core::Error error) {
  if (error.code == Errc::corrupt && !tx.found_bad()) tx.writer().bad.messages.insert(m.n);
  return error;
}

namespace {

constexpr int k_checked_rows = 10'000;

// Loads everything before anything is changed: an UPDATE would move rows in the index that is being read.
Result<std::vector<MessageRecord>> all_messages(Rows rows) {
  std::vector<MessageRecord> out;
  for (;;) {
    const auto more = rows.next();
    if (!more) return tl::unexpected(more.error());
    if (!*more) return out;
    auto record = read_message(rows);
    if (!record) return tl::unexpected(record.error());
    out.push_back(*std::move(record));
  }
}

enum class Read : std::uint8_t { good, gone, bad_row, bad_page };

// One row by itself. What can be made out of a bad one is in `out` too, for the event.
Result<Read> read_one(Transaction& tx, std::int64_t n, MessageRecord& out) {
  Rows rows = tx.sql(WriterSql::message_by_n).select(n);
  const auto found = rows.next();
  if (!found && found.error().code == Errc::corrupt) return Read::bad_page;
  if (!found) return tl::unexpected(found.error());
  if (!*found) return Read::gone;
  auto record = read_message(rows);
  if (record) {
    out = *std::move(record);
    return Read::good;
  }
  out.n = n;
  out.id = rows.id(1).value_or(core::Id{});
  out.challenge = rows.id(2);
  out.app = rows.text(6);
  return Read::bad_row;
}

Result<> hold(Transaction& tx, MessageRecord& m, MessageState state, core::WallTime now) {
  auto held = tx.sql(WriterSql::message_quarantine).run(m.n, core::k_never);
  if (!held) return held;
  ++tx.unreadable();
  tx.counted().move(state, MessageState::held);
  m.row.state = MessageState::held;
  Detail detail;
  detail.add("reason", "its row cannot be read");
  return tx.append(m, Cause{now, {}}, detail.take());
}

Result<std::vector<std::int64_t>> rows_at(Transaction& tx, const Places& p) {
  const auto& passed_over = tx.writer().bad.messages;
  const std::int64_t limit = std::int64_t{p.limit} + static_cast<std::int64_t>(passed_over.size());
  Rows rows = tx.sql(WriterSql::message_places)
                  .select(static_cast<int>(p.state), p.after_due_at, p.after_n, p.until, limit);
  std::vector<std::int64_t> out;
  for (;;) {
    const auto more = rows.next();
    if (!more) return tl::unexpected(more.error());
    if (!*more) return out;
    if (!passed_over.contains(rows.integer(0))) out.push_back(rows.integer(0));
  }
}

tl::unexpected<core::Error> bad_page(std::int64_t n) {
  return core::fail(Errc::corrupt, fmt::format("store: the page of message {} cannot be read", n));
}

// The quick way; and where that has met a bad row, the slow one.
template <class Select>
Result<std::vector<MessageRecord>> list(Transaction& tx, const Places& places, Select&& select) {
  if (tx.writer().bad.messages.empty()) {
    auto all = all_messages(select());
    if (all || all.error().code != Errc::corrupt) return all;
  }
  const auto rows = rows_at(tx, places);
  if (!rows) return tl::unexpected(rows.error());
  std::vector<MessageRecord> out;
  for (const std::int64_t n : *rows) {
    MessageRecord m;
    m.n = n;
    const auto read = read_one(tx, n, m);
    if (!read) return tl::unexpected(read.error());
    if (*read == Read::bad_page) {
      tx.writer().bad.messages.insert(n);
      return bad_page(n);
    }
    if (*read == Read::good) out.push_back(std::move(m));
    if (*read != Read::bad_row) continue;
    if (auto held = hold(tx, m, places.state, tx.now()); !held)
      return tl::unexpected(pass_over(tx, m, held.error()));
  }
  return out;
}

}  // namespace

Result<std::vector<MessageRecord>> claimable_messages(Transaction& tx, core::WallTime after_due_at,
                                                      std::int64_t after_n, int limit) {
  const Places places{MessageState::queued, after_due_at, after_n, core::k_never, limit};
  return list(tx, places,
              [&] { return tx.sql(WriterSql::message_claimable).select(after_due_at, after_n, limit); });
}

Result<std::vector<MessageRecord>> due_messages(Transaction& tx, MessageState state, core::WallTime until,
                                                int limit) {
  Places places{.state = state};
  places.until = until;
  places.limit = limit;
  return list(tx, places,
              [&] { return tx.sql(WriterSql::message_due).select(static_cast<int>(state), until, limit); });
}

Result<std::vector<MessageRecord>> sending_messages(Transaction& tx) {
  return list(tx, {.state = MessageState::sending},
              [&] { return tx.sql(WriterSql::message_sending).select(); });
}

Result<std::vector<MessageRecord>> messages_for_relay(Transaction& tx, int limit) {
  auto waiting = list(tx, {.state = MessageState::deferred},
                      [&] { return tx.sql(WriterSql::message_for_relay).select(limit); });
  if (waiting)
    std::erase_if(*waiting, [](const MessageRecord& m) { return m.row.waits_for != core::WaitsFor::relay; });
  return waiting;
}

Result<std::vector<MessageRecord>> deferred_messages(Transaction& tx, const core::FlushPlace& after,
                                                     int limit) {
  const Places places{MessageState::deferred, after.due_at, after.n, after.last, limit};
  return list(tx, places, [&] {
    return tx.sql(WriterSql::message_deferred).select(after.due_at, after.n, after.last, limit);
  });
}

Result<MessageRecord> again(Transaction& tx, const MessageRecord& m) {
  auto found = tx.message(m.n);
  if (!found) return tl::unexpected(found.error());
  if (!*found) return core::fail(Errc::corrupt, "store: a message is gone in the middle of a transaction");
  return **std::move(found);
}

Result<> check_newest(Transaction& tx, core::WallTime now) {
  std::vector<std::pair<std::int64_t, MessageState>> open;
  {
    Rows rows = tx.sql(WriterSql::message_newest).select(k_checked_rows);
    for (;;) {
      const auto more = rows.next();
      if (!more) return tl::unexpected(more.error());
      if (!*more) break;
      const auto state = static_cast<MessageState>(rows.integer(1));
      if (is_open(state)) open.emplace_back(rows.integer(0), state);
    }
  }
  for (const auto& [n, state] : open) {
    MessageRecord m;
    const auto read = read_one(tx, n, m);
    if (!read) return tl::unexpected(read.error());
    if (*read == Read::bad_page) return bad_page(n);
    if (*read == Read::bad_row) {
      if (auto held = hold(tx, m, state, now); !held) return held;
    }
    if (*read != Read::good || is_over(m.row) || tx.content(m)) continue;
    if (tx.writer().bad.bodies.insert(n).second) return bad_page(n);
    Detail detail;
    detail.add("reason", "its body cannot be opened");
    const auto held = tx.step(m, core::Hold{}, Cause{now, {}}, detail.take());
    if (!held) return tl::unexpected(held.error());
  }
  return {};
}

}  // namespace mailotp::store
