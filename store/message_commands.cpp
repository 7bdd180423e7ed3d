#include "store/message_commands.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/outbox_policy.h"
#include "store/bounce_commands.h"
#include "store/challenge_secrets.h"
#include "store/limits.h"
#include "store/message_lists.h"
#include "store/relay_use.h"
#include "store/suppression.h"
#include "store/trace.h"

namespace mailotp::store {

using core::Result;

namespace {

constexpr int k_rows_a_claim = 512;      // looked at, besides those that are handed out
constexpr std::size_t k_max_local = 64;  // octets of a local part
constexpr int k_rows_a_look = 16;        // read ahead of the free places
// A message that one relay has refused waits so long for the rate of the other one, rather than failing.
constexpr core::Millis k_worth_waiting{5000};

Detail about(const core::AttemptKey& key, const MessageRecord& m) {
  Detail detail;
  detail.add("attempt", static_cast<std::int64_t>(key.attempt)).add("relay", m.row.relay);
  return detail;
}

// The machine, and what a relay's last word says of the recipient.
Result<bool> step_of(Transaction& tx, MessageRecord& m, const core::MessageEvent& event, const Cause& cause,
                     std::string_view detail = {}) {
  const core::MessageState before = m.row.state;
  auto stepped = tx.step(m, event, cause, detail);
  if (!stepped || m.row.state != core::MessageState::failed || before == m.row.state) return stepped;
  if (auto recorded = record_refusal(tx, m, cause); !recorded) return tl::unexpected(recorded.error());
  return stepped;
}

Result<> settle_one(Transaction& tx, const core::AttemptKey& key, const core::MessageEvent& event,
                    core::WallTime at, auto&& describe) {
  auto found = told_message(tx, key.message);
  if (!found) return tl::unexpected(found.error());
  if (!*found) return {};
  MessageRecord& m = **found;
  Detail detail = about(key, m);
  describe(detail);
  const auto stepped = step_of(tx, m, event, Cause{at, {}}, detail.take());
  if (!stepped) return tl::unexpected(stepped.error());
  if (*stepped && m.row.state == core::MessageState::relayed)
    tx.relayed({m.row.kind, std::max(at - m.created_at, core::Millis{0})});
  return {};
}

struct Settler {
  Transaction& tx;
  core::WallTime at;

  Result<> operator()(const core::JobDotNext& fact) const {
    return settle_one(tx, fact.key, fact, at, [](Detail&) {});
  }
  Result<> operator()(const core::JobRelayed& fact) const {
    return settle_one(tx, fact.key, fact, at, [&](Detail& d) { d.add(fact.reply); });
  }
  Result<> operator()(const core::JobRefused& fact) const {
    return settle_one(tx, fact.key, fact, at,
                      [&](Detail& d) { d.add("stage", to_string(fact.stage)).add(fact.reply); });
  }
  Result<> operator()(const core::JobNotSent& fact) const {
    return settle_one(tx, fact.key, fact, at, [&](Detail& d) {
      d.add("stage", to_string(fact.stage)).add("reason", fact.reason);
      if (fact.reply) d.add(*fact.reply);
    });
  }
  Result<> operator()(const core::JobUncertain& fact) const {
    return settle_one(tx, fact.key, fact, at, [&](Detail& d) { d.add("reason", fact.reason); });
  }
  // These say nothing about a message.
  Result<> operator()(const core::RelayFact&) const { return {}; }
  Result<> operator()(const core::AgentReady&) const { return {}; }
  Result<> operator()(const core::AgentLog&) const { return {}; }
  Result<> operator()(const core::TestStep&) const { return {}; }
  Result<> operator()(const core::TestDone&) const { return {}; }
};

// The bounce address with a token for its tag; without one where there is no room (RFC 5321 section
// 4.5.3.1.1).
std::string tagged(const std::string& address, const std::string& token) {
  const std::size_t at = address.rfind('@');
  if (token.empty() || at == std::string::npos || at + 1 + token.size() > k_max_local) return address;
  return fmt::format("{}+{}{}", address.substr(0, at), token, address.substr(at));
}

std::string return_path(const Writer& writer, const MessageRecord& m, core::WallTime now) {
  switch (writer.rules->verp) {
    case core::Verp::recipient:
      return tagged(writer.rules->return_path,
                    writer.tokens.recipient(m.recipient, address_of(m.mailbox).key(), now));
    case core::Verp::message:
      return tagged(writer.rules->return_path, writer.tokens.message(m.id));
    case core::Verp::off:
      return writer.rules->return_path;
  }
  return writer.rules->return_path;
}

core::Job job_of(const MessageRecord& m, core::Secret content, const Writer& writer, core::WallTime now) {
  core::Job job;
  job.key = {m.id, m.row.attempt};
  job.relay = m.row.relay;
  job.return_path = return_path(writer, m, now);
  job.recipient = m.mailbox;
  job.envid = writer.tokens.message(m.id);
  job.time_left = m.row.not_after - now;
  job.content = std::move(content);
  return job;
}

class Claims {
 public:
  Claims(Transaction& tx, std::vector<core::RelayOffer> relays, core::WallTime now)
      : tx_(tx), relays_(std::move(relays)), cause_{now, {}} {
    for (const core::RelayOffer& relay : relays_)
      turn_ = std::max(turn_, relay.last_turn);
  }

  Result<Claimed> run() {
    if (auto limited = limit(); !limited) return tl::unexpected(limited.error());
    if (auto done = run_fresh(); !done) return tl::unexpected(done.error());
    int left = k_rows_a_claim;
    bool moved = false;
    while (places() > 0 && left > 0) {
      // Nearly always every row goes; only among those that cannot it pays to read ahead.
      const int wanted = places() + (left < k_rows_a_claim ? k_rows_a_look : 0);
      const std::uint64_t unreadable = tx_.unreadable();
      auto queued = claimable_messages(tx_, due_at_, n_, wanted);
      if (!queued) return tl::unexpected(queued.error());
      if (queued->empty()) {
        // Those that could not be read are held by now, and others may stand behind them.
        if (tx_.unreadable() != unreadable && --left > 0) continue;
        out_.none_left = n_ == 0 && left > 0;  // from the first place on there was none
        break;
      }
      for (MessageRecord& m : *queued) {
        if (places() == 0 || left <= 0) break;
        due_at_ = m.row.due_at;
        n_ = m.n;
        const auto seen = take(m);
        if (!seen) return tl::unexpected(seen.error());
        moved = moved || *seen != Seen::passed_over;
        if (*seen == Seen::handed_out) continue;
        --left;
        // Its end may have ended others of the list as well: read anew.
        if (*seen == Seen::changed) break;
      }
    }
    // With nothing moved the same rows would be passed over again: until a relay has a place, or a fact
    // comes.
    out_.again = places() > 0 && left <= 0 && moved;
    return std::move(out_);
  }

 private:
  enum class Seen { handed_out, changed, passed_over };

  // What has just been written needs not be read.
  Result<> run_fresh() {
    for (Transaction::Fresh& fresh : tx_.take_fresh()) {
      if (places() == 0) return {};
      if (const auto seen = take(fresh.message, &fresh.content); !seen) return tl::unexpected(seen.error());
    }
    return {};
  }

  [[nodiscard]] int places() const {
    int sum = 0;
    for (const core::RelayOffer& relay : relays_)
      if (relay.use != core::RelayUse::no) sum += std::max(relay.jobs, 0);
    return sum;
  }

  // A relay gets no more than its rate and its quota leave.
  Result<> limit() {
    for (core::RelayOffer& relay : relays_) {
      if (relay.use == core::RelayUse::no || relay.jobs <= 0) continue;
      const auto room = relay_room(tx_, relay, cause_.at);
      if (!room) return tl::unexpected(room.error());
      if (std::cmp_less(room->left, relay.jobs)) relay.jobs = static_cast<int>(room->left);
      if (relay.jobs > 0) continue;
      if (room->until - cause_.at <= k_worth_waiting) soon_.push_back(relay);
      relay.use = core::RelayUse::no;
      out_.limited_until = std::min(out_.limited_until.value_or(core::k_never), room->until);
    }
    return {};
  }

  Result<bool> may_go(const MessageRecord& m) {
    // In hand at two deaths in a row: if it is what kills, it must not take others with it, so that the third
    // one proves it guilty.
    if (m.row.orphaned + 1 < core::k_poison_deaths) return true;
    const auto out = tx_.sql(WriterSql::message_suspect_out).select(m.row.orphaned).next();
    if (!out) return tl::unexpected(out.error());
    return !*out;
  }

  // `content`: where it is known already.
  Result<Seen> take(MessageRecord& m, core::Secret* content = nullptr) {
    const auto may = may_go(m);
    if (!may) return tl::unexpected(may.error());
    if (!*may) return Seen::passed_over;
    const core::RelayChoice choice = core::choose_relay(m.row, relays_);
    if (std::holds_alternative<core::RelayWait>(choice)) return Seen::passed_over;
    if (std::holds_alternative<core::RelayNone>(choice)) {
      // Its turn comes when the relays that are out of use for now are back, or the rate of one has room.
      const bool waits = !std::holds_alternative<core::RelayNone>(core::choose_relay(m.row, soon_));
      if (waits || !core::any_usable(relays_)) return Seen::passed_over;
      return changed(step_of(tx_, m, core::NoRelay{}, cause_));
    }
    return hand_out(m, relays_[std::get<std::size_t>(choice)], content);
  }

  Result<Seen> hand_out(MessageRecord& m, core::RelayOffer& relay, core::Secret* known) {
    auto content = known != nullptr ? Result<core::Secret>(std::move(*known)) : tx_.content(m);
    if (!content) {
      const core::Errc why = content.error().code;
      if (why != core::Errc::corrupt && why != core::Errc::not_found) return tl::unexpected(content.error());
      // If it was a bad page, nothing can be written in this transaction any more.
      if (tx_.writer().bad.bodies.insert(m.n).second)
        return core::fail(core::Errc::corrupt, content.error().what);
      Detail detail;
      detail.add("reason", "its body cannot be opened");
      return changed(tx_.step(m, core::Hold{}, cause_, detail.take()));
    }
    const auto stepped = tx_.step(m, core::Claim{relay.name}, cause_);
    if (!stepped) return tl::unexpected(pass_over(tx_, m, stepped.error()));
    if (m.row.state != core::MessageState::sending) return Seen::changed;
    if (auto counted = relay_used(tx_, relay, cause_.at); !counted) return tl::unexpected(counted.error());
    --relay.jobs;
    relay.last_turn = ++turn_;
    out_.jobs.push_back(job_of(m, *std::move(content), tx_.writer(), cause_.at));
    return Seen::handed_out;
  }

  static Result<Seen> changed(const Result<bool>& stepped) {
    if (!stepped) return tl::unexpected(stepped.error());
    return Seen::changed;
  }

  Transaction& tx_;
  std::vector<core::RelayOffer> relays_;
  std::vector<core::RelayOffer> soon_;  // whose rate is used up for a moment only
  Cause cause_;
  std::uint64_t turn_ = 0;
  core::WallTime due_at_{core::Millis{0}};  // the place of the last row that was looked at
  std::int64_t n_ = 0;
  Claimed out_;
};

}  // namespace

Result<core::Answer> create(Transaction& tx, const core::CreateMessage& command) {
  if (tx.open_messages() >= tx.writer().rules->max_open_messages) {
    core::Refusal full;
    full.kind = core::RefusalKind::overloaded;
    return full;
  }
  auto open = gate(tx, command.recipient, command.app, core::SuppressedUse::refuse, command.at);
  if (!open) return tl::unexpected(open.error());
  if (open->refusal) return *std::move(open->refusal);
  // A mail that is no code counts for its app and for all; it has no purpose, and is no guess at anything.
  const BudgetKeys no_keys;
  const SendOf send{command.app, no_keys};
  auto limited = refuse_send(tx, send, command.at);
  if (!limited) return tl::unexpected(limited.error());
  if (*limited) return **std::move(limited);
  const auto recipient = tx.recipient(command.recipient);
  if (!recipient) return tl::unexpected(recipient.error());
  const MessageDraft draft{.id = command.id,
                           .challenge = {},
                           .previous = {},
                           .recipient = *recipient,
                           .app = command.app,
                           .mailbox = command.recipient.mailbox(),
                           .template_name = command.template_name,
                           .not_after = command.not_after,
                           .mail = command.mail,
                           .metadata = command.metadata};
  const auto queued = tx.queue(draft, Cause{command.at, command.actor});
  if (!queued) return tl::unexpected(queued.error());
  if (auto counted = count_send(tx, send, command.at); !counted) return tl::unexpected(counted.error());
  return core::MessageAnswer{view_of(*queued)};
}

Result<> settle(Transaction& tx, const core::SettleFact& command) {
  return std::visit(Settler{tx, command.at}, command.fact);
}

Result<> settle(Transaction& tx, const core::SettleLost& command) {
  auto found = told_message(tx, command.key.message);
  if (!found) return tl::unexpected(found.error());
  // The machine cannot see the attempt of this event: fence here.
  if (!*found || (*found)->row.attempt != command.key.attempt) return {};
  MessageRecord& m = **found;
  Detail detail = about(command.key, m);
  detail.add("reason", "the sending process ended");
  const auto stepped =
      tx.step(m, core::AgentLost{command.dot_possible}, Cause{command.at, {}}, detail.take());
  if (!stepped) return tl::unexpected(stepped.error());
  return {};
}

Result<std::uint64_t> sweep_messages(Transaction& tx, const Cause& cause, int limit) {
  using core::MessageState;
  std::uint64_t swept = 0;
  for (const MessageState state :
       {MessageState::deferred, MessageState::uncertain, MessageState::queued, MessageState::held}) {
    if (limit <= 0) return swept;
    auto due = due_messages(tx, state, cause.at, limit);
    if (!due) return tl::unexpected(due.error());
    limit -= static_cast<int>(due->size());
    swept += due->size();
    for (const MessageRecord& listed : *due) {
      auto m = again(tx, listed);
      if (!m) return tl::unexpected(m.error());
      if (auto stepped = tx.step(*m, core::Due{}, cause); !stepped)
        return tl::unexpected(pass_over(tx, *m, stepped.error()));
    }
  }
  return swept;
}

Result<> wake_for_relay(Transaction& tx, const core::WakeForRelay& command) {
  const Cause cause{command.at, {}};
  auto waiting = messages_for_relay(tx, command.limit);
  if (!waiting) return tl::unexpected(waiting.error());
  for (const MessageRecord& listed : *waiting) {
    auto m = again(tx, listed);
    if (!m) return tl::unexpected(m.error());
    if (auto stepped = tx.step(*m, core::RelayBack{}, cause); !stepped)
      return tl::unexpected(pass_over(tx, *m, stepped.error()));
  }
  // Each of these has left the list, so the steps come to an end.
  tx.writer().waking = std::cmp_greater_equal(waiting->size(), command.limit);
  return {};
}

Result<Claimed> claim(Transaction& tx, const core::ClaimBudget& budget, core::WallTime now) {
  return Claims(tx, budget.relays, now).run();
}

Result<core::Recovered> settle_orphans(Transaction& tx, core::WallTime now) {
  core::Recovered out;
  auto orphans = sending_messages(tx);
  if (!orphans) return tl::unexpected(orphans.error());
  for (const MessageRecord& listed : *orphans) {
    auto fresh = again(tx, listed);
    if (!fresh) return tl::unexpected(fresh.error());
    MessageRecord& m = *fresh;
    Detail detail = about({m.id, m.row.attempt}, m);
    detail.add("reason", "the daemon ended while it was being sent");
    const auto stepped = tx.step(m, core::Orphaned{}, Cause{now, {}}, detail.take());
    if (!stepped) return tl::unexpected(stepped.error());
    ++out.orphans;
    if (m.row.state == core::MessageState::held) ++out.held;
  }
  return out;
}

}  // namespace mailotp::store
