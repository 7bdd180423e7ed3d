#include "store/challenge_commands.h"

#include <fmt/format.h>

#include "store/brake.h"
#include "store/challenge_secrets.h"
#include "store/limits.h"
#include "store/suppression.h"

namespace mailotp::store {

using core::Answer;
using core::ChallengeEffect;
using core::ChallengeEvent;
using core::ChallengeOutcome;
using core::Errc;
using core::Refusal;
using core::RefusalKind;
using core::Result;

namespace {

// A challenge keeps its own; its mails have none.
const std::string k_no_metadata;

Refusal refusal(RefusalKind kind) {
  Refusal out;
  out.kind = kind;
  return out;
}

Refusal refusal_of(const core::ComposeError& error) {
  Refusal out = refusal(error.fault == core::ComposeFault::template_unknown ? RefusalKind::template_unknown
                                                                            : RefusalKind::template_failed);
  out.detail = error.detail;
  out.field = error.field;
  return out;
}

Refusal cooldown_refusal(const ChallengeRecord& c, core::WallTime at) {
  Refusal out = refusal(RefusalKind::resend_cooldown);
  out.retry_after = c.row.resend_at - at;
  out.limit =
      core::Limit{"resend_cooldown", 1, std::chrono::ceil<core::Seconds>(c.row.cooldown), c.row.resend_at};
  return out;
}

Refusal exhausted_refusal(const ChallengeRecord& c, core::WallTime at) {
  Refusal out = refusal(RefusalKind::sends_exhausted);
  out.retry_after = c.row.expires_at - at;
  out.limit =
      core::Limit{"max_sends", c.row.max_sends,
                  std::chrono::ceil<core::Seconds>(c.row.expires_at - c.created_at), c.row.expires_at};
  return out;
}

// Why the machine does not send; nothing when it does.
std::optional<Refusal> send_refusal(const ChallengeRecord& c, ChallengeOutcome outcome, core::WallTime at) {
  switch (outcome) {
    case ChallengeOutcome::sent:
    case ChallengeOutcome::resent:
      return std::nullopt;
    case ChallengeOutcome::cooldown:
      return cooldown_refusal(c, at);
    case ChallengeOutcome::sends_exhausted:
      return exhausted_refusal(c, at);
    // Expired: the sweep writes that down, since a refusal writes nothing.
    case ChallengeOutcome::expired:
    case ChallengeOutcome::closed:
    case ChallengeOutcome::unchanged:
    case ChallengeOutcome::counted:
    case ChallengeOutcome::valid:
    case ChallengeOutcome::invalid:
    case ChallengeOutcome::binding_mismatch:
    case ChallengeOutcome::not_sent_yet:
    case ChallengeOutcome::exhausted:
    case ChallengeOutcome::already_used:
    case ChallengeOutcome::canceled:
    case ChallengeOutcome::noted:
      return refusal(RefusalKind::challenge_closed);
  }
  return refusal(RefusalKind::challenge_closed);
}

MessageDraft draft_of(const ChallengeRecord& c, const core::Id& message, const core::ComposedMail& mail) {
  return MessageDraft{.id = message,
                      .challenge = c.id,
                      .previous = c.message,
                      .recipient = c.recipient,
                      .app = c.app,
                      .mailbox = c.mailbox,
                      .template_name = c.template_name,
                      .not_after = c.row.expires_at - c.row.usable_minimum,
                      .mail = mail,
                      .metadata = k_no_metadata};
}

ChallengeRecord record_of(const core::CreateChallenge& command) {
  const core::ChallengeTerms& terms = command.terms;
  ChallengeRecord c;
  c.id = command.id;
  c.app = command.app;
  c.purpose = command.purpose;
  c.mailbox = command.recipient.mailbox();
  c.created_at = command.at;
  c.row.attempts_left = terms.max_attempts;
  c.row.max_sends = terms.max_sends;
  c.row.cooldown = terms.cooldown;
  c.row.usable_minimum = terms.usable_minimum;
  c.row.expires_at = command.at + terms.ttl;
  c.row.resend_at = command.at;
  c.resend = terms.resend;
  c.code = terms.code;
  c.template_name = command.template_name;
  c.locale = command.locale;
  c.metadata = command.metadata;
  return c;
}

// Why the limits, or the brake, let no mail leave now; nothing: they do. `keys`: of who asks.
Result<std::optional<Refusal>> refuse_limited(Transaction& tx, const std::string& app, const BudgetKeys& keys,
                                              const Cause& cause) {
  auto limited = refuse_send(tx, {app, keys}, cause.at);
  if (!limited || *limited) return limited;
  return refuse_braked(tx, app, keys.device, cause);
}

// The mail has been queued.
Result<> note_sent(Transaction& tx, const std::string& app, const BudgetKeys& keys, const Gate& gate,
                   const core::Id& message, core::WallTime at) {
  if (auto noted = note_probe(tx, gate, message, at); !noted) return noted;
  if (auto counted = count_send(tx, {app, keys}, at); !counted) return counted;
  return count_sent_code(tx, app, at);
}

Result<Answer> answer_of(Transaction& tx, core::Disposition disposition, const ChallengeRecord& c,
                         const std::optional<MessageRecord>& message, core::WallTime at) {
  auto view = view_within_limits(tx.usage(), tx.writer().rules->limits, c, message, at, tx.shifted());
  if (!view) return tl::unexpected(view.error());
  return core::ChallengeAnswer{disposition, *std::move(view)};
}

// `replaced`: an open one with too little life left to be of use; it is canceled.
Result<Answer> create_new(Transaction& tx, const core::CreateChallenge& command,
                          std::optional<ChallengeRecord> replaced) {
  ChallengeRecord c = record_of(command);
  if (command.message) {
    const core::ChallengeStep step = core::step(c.row, ChallengeEvent::send, command.at);
    if (auto refused = send_refusal(c, step.outcome, command.at)) return *std::move(refused);
    c.row = step.row;
  }
  const Cause cause{command.at, command.actor};
  auto keys = budget_keys(tx, c.app, c.purpose, command.recipient, command.client);
  if (!keys) return tl::unexpected(keys.error());
  c.budget = *std::move(keys);
  Gate open;
  if (command.message) {
    auto gated = gate(tx, command.recipient, command.app, command.suppressed, command.at);
    if (!gated) return tl::unexpected(gated.error());
    if (gated->refusal) return *std::move(gated->refusal);
    open = *std::move(gated);
    auto limited = refuse_limited(tx, c.app, c.budget, cause);
    if (!limited) return tl::unexpected(limited.error());
    if (*limited) return **std::move(limited);
  }
  if (auto sealed = seal_secrets(tx.writer(), c, command.code, command.variables, command.binding); !sealed)
    return tl::unexpected(sealed.error());
  if (replaced) {
    const core::ChallengeStep step = core::step(replaced->row, ChallengeEvent::cancel, command.at);
    if (auto canceled = tx.end(*replaced, step, cause); !canceled) return tl::unexpected(canceled.error());
  }
  const auto recipient = tx.recipient(command.recipient);
  if (!recipient) return tl::unexpected(recipient.error());
  c.recipient = *recipient;
  if (auto logged = tx.append(ChallengeNews::created, c, cause); !logged)
    return tl::unexpected(logged.error());
  std::optional<MessageRecord> message;
  if (command.message) {
    auto queued = tx.queue(draft_of(c, command.message->id, command.message->mail), cause);
    if (!queued) return tl::unexpected(queued.error());
    message = *std::move(queued);
    c.message = message->n;
    if (auto noted = note_sent(tx, c.app, c.budget, open, message->id, command.at); !noted)
      return tl::unexpected(noted.error());
  }
  if (auto added = tx.add(c); !added) return tl::unexpected(added.error());
  return answer_of(tx, core::Disposition::created, c, message, command.at);
}

bool has_room(Transaction& tx) {
  return tx.open_messages() < tx.writer().rules->max_open_messages;
}

// Another mail of a challenge. `c` is open as far as its row says. `client`: who asks for it, where that is
// told; else it is counted for who asked first.
Result<Answer> send_again(Transaction& tx, ChallengeRecord& c, const core::Id& message,
                          core::SuppressedUse use, const std::optional<core::Client>& client,
                          const Cause& cause) {
  const core::ChallengeStep step = core::step(c.row, ChallengeEvent::send, cause.at);
  auto refused = send_refusal(c, step.outcome, cause.at);
  if (refused && refused->kind == RefusalKind::challenge_closed) return *std::move(refused);
  const core::Address recipient = address_of(c.mailbox);
  auto open = gate(tx, recipient, c.app, use, cause.at);
  if (!open) return tl::unexpected(open.error());
  // That the address is dead is better news than that it is too early for another mail to it.
  if (open->refusal) return *std::move(open->refusal);
  if (refused) return *std::move(refused);
  BudgetKeys keys = c.budget;
  if (client || keys.recipient.empty()) {  // a row of a version without limits has none
    auto own = budget_keys(tx, c.app, c.purpose, recipient, client.value_or(core::Client{}));
    if (!own) return tl::unexpected(own.error());
    keys = *std::move(own);
  }
  auto limited = refuse_limited(tx, c.app, keys, cause);
  if (!limited) return tl::unexpected(limited.error());
  if (*limited) return **std::move(limited);
  if (!has_room(tx)) return refusal(RefusalKind::overloaded);
  auto secrets = open_secrets(tx.writer(), c);
  if (!secrets) return tl::unexpected(secrets.error());
  core::ComposeRequest request{.app = c.app,
                               .template_name = c.template_name,
                               .locale = c.locale,
                               .recipient = address_of(c.mailbox),
                               .message = message,
                               .challenge = c.id,
                               .at = cause.at,
                               .life = c.row.expires_at - cause.at,
                               .code = secrets->code.clone(),
                               .variables = std::move(secrets->variables),
                               .binding = std::move(secrets->binding),
                               .purpose = c.purpose};
  const auto mail = tx.writer().rules->composer->compose(request);
  if (!mail) return refusal_of(mail.error());

  // Decided: from here on it is written.
  if (c.resend == core::ResendMode::fresh) {
    if (auto renewed = save_new_code(tx, c, secrets->code); !renewed) return tl::unexpected(renewed.error());
  }
  if (has(step.effects, ChallengeEffect::supersede_unsent)) {
    if (auto done = tx.supersede_unsent(c, cause); !done) return tl::unexpected(done.error());
  }
  if (auto logged = tx.append(ChallengeNews::sent, c, cause); !logged) return tl::unexpected(logged.error());
  auto queued = tx.queue(draft_of(c, message, *mail), cause);
  if (!queued) return tl::unexpected(queued.error());
  c.message = queued->n;
  if (auto noted = note_sent(tx, c.app, keys, *open, message, cause.at); !noted)
    return tl::unexpected(noted.error());
  if (auto applied = tx.apply(c, step, cause); !applied) return tl::unexpected(applied.error());
  const bool first = step.outcome == ChallengeOutcome::sent;
  return answer_of(tx, first ? core::Disposition::sent : core::Disposition::resent, c, *queued, cause.at);
}

}  // namespace

Result<Answer> create(Transaction& tx, const core::CreateChallenge& command) {
  std::optional<ChallengeRecord> replaced;
  if (command.message && command.reuse == core::CreateChallenge::Reuse::open_one) {
    auto newest = tx.newest_challenge(command.recipient, command.app, command.purpose);
    if (!newest) return tl::unexpected(newest.error());
    if (*newest && is_open((*newest)->row.state) && command.at < (*newest)->row.expires_at) {
      ChallengeRecord& open = **newest;
      if (open.row.expires_at - command.at >= open.row.usable_minimum)
        return send_again(tx, open, command.message->id, command.suppressed, command.client,
                          Cause{command.at, command.actor});
      replaced = std::move(open);
    }
  }
  if (command.message && !has_room(tx)) return refusal(RefusalKind::overloaded);
  return create_new(tx, command, std::move(replaced));
}

Result<Answer> send(Transaction& tx, const core::SendChallenge& command) {
  auto found = tx.challenge(command.id);
  if (!found) return tl::unexpected(found.error());
  if (!*found || (*found)->app != command.app) return refusal(RefusalKind::not_found);
  return send_again(tx, **found, command.message, core::SuppressedUse::refuse, std::nullopt,
                    Cause{command.at, command.actor});
}

Result<Answer> cancel(Transaction& tx, const core::CancelChallenge& command) {
  auto found = tx.challenge(command.id);
  if (!found) return tl::unexpected(found.error());
  if (!*found || (*found)->app != command.app) return refusal(RefusalKind::not_found);
  ChallengeRecord& c = **found;
  const core::ChallengeStep step = core::step(c.row, ChallengeEvent::cancel, command.at);
  // One whose time is up is the sweep's to end.
  if (step.outcome != ChallengeOutcome::canceled) return refusal(RefusalKind::challenge_closed);
  if (is_open(c.row.state)) {
    const Cause cause{command.at, command.actor};
    if (auto ended = tx.end(c, step, cause); !ended) return tl::unexpected(ended.error());
  }
  const auto message = tx.message(c.message);
  if (!message) return tl::unexpected(message.error());
  return answer_of(tx, core::Disposition::canceled, c, *message, command.at);
}

namespace {

// What the machine makes of `event` on open challenges, those that end first first, up to `until`; the number
// of them. One that cannot be read is passed over from the next try on.
Result<std::uint64_t> end_challenges(Transaction& tx, ChallengeEvent event, core::WallTime until,
                                     const Cause& cause, int limit, std::string_view detail) {
  auto& passed_over = tx.writer().bad.challenges;
  std::vector<std::int64_t> due;
  {
    const std::int64_t most = limit + static_cast<std::int64_t>(passed_over.size());
    Rows rows = tx.sql(WriterSql::challenge_due).select(until, most);
    for (;;) {
      const auto more = rows.next();
      if (!more) return tl::unexpected(more.error());
      if (!*more) break;
      if (!passed_over.contains(rows.integer(0))) due.push_back(rows.integer(0));
    }
  }
  for (const std::int64_t n : due) {
    auto found = tx.challenge(n);
    if (found && !*found)
      found = core::fail(Errc::corrupt, "store: an index names a challenge that is not there");
    if (!found && found.error().code == Errc::corrupt) passed_over.insert(n);
    if (!found) return tl::unexpected(found.error());
    const core::ChallengeStep step = core::step((*found)->row, event, cause.at);
    auto ended = tx.end(**found, step, cause, detail);
    if (!ended && ended.error().code == Errc::corrupt && !tx.found_bad()) passed_over.insert(n);
    if (!ended) return tl::unexpected(ended.error());
  }
  return due.size();
}

}  // namespace

Result<std::uint64_t> expire_challenges(Transaction& tx, const Cause& cause, int limit) {
  return end_challenges(tx, ChallengeEvent::tick, cause.at, cause, limit, {});
}

Result<std::uint64_t> cancel_challenges(Transaction& tx, const Cause& cause, int limit,
                                        std::string_view detail) {
  return end_challenges(tx, ChallengeEvent::cancel, core::k_never, cause, limit, detail);
}

}  // namespace mailotp::store
