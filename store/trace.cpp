#include "store/trace.h"

#include <algorithm>
#include <set>

namespace mailotp::store {

using core::MessageState;
using core::Result;

namespace {

constexpr int k_newest_messages = 50;  // of a recipient, among which the last one that left is looked for

// Of a Message-ID the token is the part before the at sign.
std::string_view token_part(std::string_view text) {
  return text.substr(0, text.find('@'));
}

Result<std::set<std::int64_t>> confirmed_recipients(Transaction& tx, const std::vector<std::string>& tags,
                                                    core::WallTime at) {
  std::set<std::int64_t> out;
  for (const std::string& tag : tags) {
    const auto claim = tx.writer().tokens.read_recipient(tag, at);
    if (!claim) continue;
    Rows rows = tx.sql(WriterSql::recipient_key).select(claim->recipient);
    const auto found = rows.next();
    if (!found) return tl::unexpected(found.error());
    if (*found && tx.writer().tokens.confirms(*claim, rows.text(0))) out.insert(claim->recipient);
  }
  return out;
}

std::set<core::Id> named_messages(const core::BounceTokens& tokens, const TokensFound& found) {
  std::set<core::Id> out;
  for (const auto* some : {&found.of_messages, &found.tags}) {
    for (const std::string& text : *some) {
      if (const auto id = tokens.read_message(token_part(text))) out.insert(*id);
    }
  }
  return out;
}

// For sure: what is still in the agent's hands is not taken for gone on the word of a return path.
bool has_left(MessageState state) {
  return state == MessageState::relayed || state == MessageState::delivered ||
         state == MessageState::bounced || state == MessageState::uncertain;
}

Result<std::optional<MessageRecord>> newest_that_left(Transaction& tx, std::int64_t recipient) {
  Rows rows = tx.sql(WriterSql::message_of_recipient).select(recipient, k_newest_messages);
  for (;;) {
    const auto more = rows.next();
    if (!more) return tl::unexpected(more.error());
    if (!*more) return std::optional<MessageRecord>{};
    auto m = read_message(rows);
    if (m && has_left(m->row.state)) return std::optional(*std::move(m));
  }
}

}  // namespace

TokensFound tokens_of(const core::MailRead& mail) {
  TokensFound out;
  for (const auto* some : {&mail.report.envids, &mail.report.message_ids, &mail.report.headers})
    out.of_messages.insert(out.of_messages.end(), some->begin(), some->end());
  out.tags = mail.tags;
  return out;
}

Result<std::optional<MessageRecord>> told_message(Transaction& tx, const core::Id& id) {
  auto& deaf = tx.writer().bad.deaf;
  if (deaf.contains(id)) return std::optional<MessageRecord>{};
  auto found = tx.message(id);
  if (!found && found.error().code == core::Errc::corrupt) deaf.insert(id);
  return found;
}

Result<Trace> trace(Transaction& tx, const TokensFound& found, core::WallTime at) {
  const auto recipients = confirmed_recipients(tx, found.tags, at);
  if (!recipients) return tl::unexpected(recipients.error());
  const std::set<core::Id> ids = named_messages(tx.writer().tokens, found);
  core::ReturnedTokens tokens;
  tokens.messages = static_cast<int>(ids.size());
  tokens.recipients = static_cast<int>(recipients->size());
  Trace out;
  if (ids.size() == 1) {
    out.id = *ids.begin();
    auto m = told_message(tx, *out.id);
    if (!m) return tl::unexpected(m.error());
    out.message = *std::move(m);
    tokens.agree = !out.message || recipients->contains(out.message->recipient);
  }
  out.correlation = correlate(tokens);
  out.by = traced_by(tokens);
  if (out.correlation == core::Correlation::recipient) {
    auto m = newest_that_left(tx, *recipients->begin());
    if (!m) return tl::unexpected(m.error());
    out.message = *std::move(m);
  } else if (out.correlation == core::Correlation::contradictory) {
    out.id.reset();
    out.message.reset();
  }
  return out;
}

}  // namespace mailotp::store
