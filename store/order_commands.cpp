#include "store/order_commands.h"

#include "store/message_lists.h"

namespace mailotp::store {

using core::MessageOrder;
using core::MessageState;
using core::Result;

namespace {

core::MessageEvent event_of(MessageOrder order) {
  switch (order) {
    case MessageOrder::retry:
      return core::Retry{};
    case MessageOrder::hold:
      return core::Hold{};
    case MessageOrder::release:
      return core::Release{};
    case MessageOrder::cancel:
      return core::Cancel{};
  }
  return core::Retry{};
}

// The machine has changed nothing on a message that is not over: because it is as the order wants it?
bool is_so_already(MessageOrder order, MessageState state) {
  switch (order) {
    case MessageOrder::retry:
      return state == MessageState::queued || state == MessageState::sending;
    case MessageOrder::hold:
      return state == MessageState::held;
    case MessageOrder::release:
      return state != MessageState::held;
    case MessageOrder::cancel:
      return state == MessageState::sending;  // it gets no further attempt
  }
  return false;
}

core::Refusal closed(const MessageRecord& m) {
  core::Refusal refusal;
  refusal.kind = core::RefusalKind::message_closed;
  if (!is_over(m.row))
    refusal.detail = "the message is being sent and cannot be held now; ask again when the attempt is over";
  else if (m.row.state == MessageState::uncertain)
    refusal.detail = "the message has ended: a copy may have left, and it is not sent again";
  return refusal;
}

Result<core::FlushPlace> beginning(Transaction& tx) {
  core::FlushPlace place;
  Rows rows = tx.sql(WriterSql::message_last_deferred).select();
  const auto found = rows.next();
  if (!found) return tl::unexpected(found.error());
  if (*found && !rows.is_null(0)) place.last = rows.time(0);
  return place;
}

std::string detail_of(MessageOrder order) {
  Detail detail;
  return detail.add("order", to_string(order)).take();
}

}  // namespace

Result<core::Answer> order(Transaction& tx, const core::OrderMessage& command) {
  auto found = tx.message(command.id);
  if (!found) return tl::unexpected(found.error());
  if (!*found) return core::Refusal{};
  MessageRecord& m = **found;
  const Cause cause{command.at, command.actor};
  const std::string detail = detail_of(command.order);
  const std::uint64_t revision = m.row.revision;
  const auto stepped = tx.step(m, event_of(command.order), cause, detail);
  if (!stepped) return tl::unexpected(stepped.error());
  if (!*stepped && (is_over(m.row) || !is_so_already(command.order, m.row.state))) return closed(m);
  // Nobody waits for what will become of a mail that is being sent; but who has canceled it must be told.
  if (*stepped && m.row.revision == revision) {
    if (auto logged = tx.append(m, cause, detail); !logged) return tl::unexpected(logged.error());
  }
  return core::MessageAnswer{view_of(m)};
}

Result<core::Answer> flush(Transaction& tx, const core::FlushOutbox& command) {
  const Cause cause{command.at, command.actor};
  const std::string detail = detail_of(MessageOrder::retry);
  auto place = command.after ? Result<core::FlushPlace>(*command.after) : beginning(tx);
  if (!place) return tl::unexpected(place.error());
  auto deferred = deferred_messages(tx, *place, command.limit);
  if (!deferred) return tl::unexpected(deferred.error());
  core::Flushed out;
  for (const MessageRecord& listed : *deferred) {
    auto m = again(tx, listed);
    if (!m) return tl::unexpected(m.error());
    if (m->row.state != MessageState::deferred) continue;
    if (auto stepped = tx.step(*m, core::Retry{}, cause, detail); !stepped)
      return tl::unexpected(pass_over(tx, *m, stepped.error()));
    if (m->row.state == MessageState::queued) ++out.messages;
  }
  if (!deferred->empty())
    out.next = core::FlushPlace{deferred->back().row.due_at, deferred->back().n, place->last};
  return out;
}

}  // namespace mailotp::store
