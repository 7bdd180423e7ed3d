#include "store/transaction.h"

#include <fmt/format.h>

namespace mailotp::store {

using core::Errc;
using core::Result;

namespace {

constexpr std::int64_t k_no_recipient = 0;  // SQLite counts from 1

template <class Record, class Read>
Result<std::optional<Record>> only_row(Rows rows, Read read) {
  const auto found = rows.next();
  if (!found) return tl::unexpected(found.error());
  if (!*found) return std::optional<Record>{};
  auto record = read(rows);
  if (!record) return tl::unexpected(record.error());
  return std::optional<Record>(*std::move(record));
}

}  // namespace

Result<std::optional<std::int64_t>> Transaction::known_recipient(const core::Address& address) {
  std::string key = address.key();
  if (found_recipient_ && found_recipient_->key == key) return found_recipient_->id;
  Rows rows = sql(WriterSql::recipient_find).select(core::folded_most(address), key);
  const auto found = rows.next();
  if (!found) return tl::unexpected(found.error());
  found_recipient_.emplace(FoundRecipient{std::move(key), {}});
  if (*found) found_recipient_->id = rows.integer(0);
  return found_recipient_->id;
}

Result<std::int64_t> Transaction::recipient(const core::Address& address) {
  const auto known = known_recipient(address);
  if (!known) return tl::unexpected(known.error());
  if (*known) return **known;
  std::string key = address.key();
  if (auto added = sql(WriterSql::recipient_add).run(key, core::folded_most(address)); !added)
    return tl::unexpected(added.error());
  const std::int64_t id = writer_.db.last_rowid();
  found_recipient_.emplace(FoundRecipient{std::move(key), id});
  return id;
}

Result<std::optional<ChallengeRecord>> Transaction::challenge(const core::Id& id) {
  return only_row<ChallengeRecord>(sql(WriterSql::challenge_by_id).select(id), read_challenge);
}

Result<std::optional<ChallengeRecord>> Transaction::challenge(std::int64_t n) {
  return only_row<ChallengeRecord>(sql(WriterSql::challenge_by_n).select(n), read_challenge);
}

Result<std::optional<ChallengeRecord>> Transaction::newest_challenge(const core::Address& address,
                                                                     const std::string& app,
                                                                     const std::string& purpose) {
  const auto recipient = known_recipient(address);
  if (!recipient) return tl::unexpected(recipient.error());
  // Of an unknown one nothing is found, but not sooner: how long a check takes tells nobody who is known.
  return only_row<ChallengeRecord>(
      sql(WriterSql::challenge_newest).select(recipient->value_or(k_no_recipient), app, purpose),
      read_challenge);
}

Result<> Transaction::add(ChallengeRecord& c) {
  auto added =
      sql(WriterSql::challenge_add)
          .run(c.id, c.recipient, c.app, c.purpose, c.mailbox, c.created_at, static_cast<int>(c.row.state),
               c.row.attempts_left, c.row.sends, c.row.max_sends, std::int64_t{c.row.cooldown.count()},
               std::int64_t{c.row.usable_minimum.count()}, c.row.expires_at, c.row.resend_at, c.row.revision,
               c.message, static_cast<int>(c.resend), c.code.length, static_cast<int>(c.code.alphabet),
               c.template_name, TextOrNull{c.locale}, TextOrNull{c.metadata}, c.key, Blob{c.code_mac},
               Blob{c.binding_mac}, Blob{c.kept_code}, Blob{c.data}, Blob{c.budget.recipient},
               Blob{c.budget.network}, Blob{c.budget.device});
  if (!added) return added;
  c.n = writer_.db.last_rowid();
  counted_.start(c.row.state);
  changed(c.id, std::nullopt);
  return {};
}

Result<> Transaction::apply(ChallengeRecord& c, const core::ChallengeStep& step, const Cause& cause) {
  const core::ChallengeState before = c.row.state;
  c.row = step.row;
  const bool erase = has(step.effects, core::ChallengeEffect::erase_secrets);
  const int state = static_cast<int>(c.row.state);
  const auto save = [&]() -> Result<> {
    if (erase)
      return sql(WriterSql::challenge_end)
          .run(c.n, state, c.row.attempts_left, c.row.sends, c.row.resend_at, c.row.revision, c.message,
               cause.at);
    if (c.row.state == before)
      return sql(WriterSql::challenge_save_same)
          .run(c.n, c.row.attempts_left, c.row.sends, c.row.resend_at, c.row.revision, c.message);
    return sql(WriterSql::challenge_save)
        .run(c.n, state, c.row.attempts_left, c.row.sends, c.row.resend_at, c.row.revision, c.message);
  };
  auto saved = save();
  if (!saved) return saved;
  if (erase) {
    c.code_mac.clear();
    c.binding_mac.clear();
    c.kept_code.clear();
    c.data.clear();
  }
  counted_.move(before, c.row.state);
  changed(c.id, std::nullopt);
  if (!has(step.effects, core::ChallengeEffect::end_unsent)) return {};
  const bool expired = c.row.state == core::ChallengeState::expired;
  return step_all(c, core::EndWithChallenge{expired}, cause, to_string(c.row.state));
}

Result<> Transaction::end(ChallengeRecord& c, const core::ChallengeStep& step, const Cause& cause,
                          std::string_view detail) {
  if (auto applied = apply(c, step, cause); !applied) return applied;
  switch (c.row.state) {
    case core::ChallengeState::expired:
      return append(ChallengeNews::expired, c, cause, detail);
    case core::ChallengeState::canceled:
      return append(ChallengeNews::canceled, c, cause, detail);
    case core::ChallengeState::otp_exhausted:
      return append(ChallengeNews::exhausted, c, cause, detail);
    case core::ChallengeState::started:
    case core::ChallengeState::otp_sent:
    case core::ChallengeState::otp_invalid:
    case core::ChallengeState::otp_valid:
      return {};
  }
  return {};
}

Result<> Transaction::supersede_unsent(const ChallengeRecord& c, const Cause& cause) {
  return step_all(c, core::Supersede{}, cause, {});
}

Result<> Transaction::step_all(const ChallengeRecord& c, const core::MessageEvent& event, const Cause& cause,
                               std::string_view why) {
  Detail detail;
  if (!why.empty()) detail.add("challenge", why);
  const std::string told = detail.take();
  std::optional<std::int64_t> next = c.message;
  while (next) {
    // Its end must not wait for one that cannot be read, nor for those behind it.
    if (writer_.bad.messages.contains(*next)) return {};
    auto found = message(next);
    if (!found && found.error().code == Errc::corrupt) writer_.bad.messages.insert(*next);
    if (!found) return tl::unexpected(found.error());
    if (!*found) return {};  // older ones have been purged
    MessageRecord& one = **found;
    next = one.previous;
    if (!is_open(one.row.state)) continue;
    if (auto stepped = step_alone(one, event, cause, told); !stepped) return tl::unexpected(stepped.error());
  }
  return {};
}

Result<std::optional<MessageRecord>> Transaction::message(const core::Id& id) {
  return only_row<MessageRecord>(sql(WriterSql::message_by_id).select(id), read_message);
}

Result<std::optional<MessageRecord>> Transaction::message(std::optional<std::int64_t> n) {
  if (!n) return std::optional<MessageRecord>{};
  return only_row<MessageRecord>(sql(WriterSql::message_by_n).select(*n), read_message);
}

Result<MessageRecord> Transaction::queue(const MessageDraft& draft, const Cause& cause) {
  MessageRecord m;
  m.id = draft.id;
  m.challenge = draft.challenge;
  m.row.kind = draft.challenge ? core::MessageKind::otp : core::MessageKind::templated;
  m.row.on_uncertain = draft.mail.on_uncertain;
  m.metadata = draft.metadata;
  m.previous = draft.previous;
  m.recipient = draft.recipient;
  m.app = draft.app;
  m.mailbox = draft.mailbox;
  m.created_at = cause.at;
  m.row.not_after = draft.not_after;
  m.row.due_at = draft.not_after;
  m.message_id = draft.mail.message_id;
  m.template_name = draft.template_name;
  m.template_version = draft.mail.template_version;
  m.locale = draft.mail.locale;
  const auto sealed = writer_.keys.seal(Sealed::content, m.id, draft.mail.content.reveal(), writer_.random);
  if (!sealed) return tl::unexpected(sealed.error());
  auto added = sql(WriterSql::message_add)
                   .run(m.id, m.challenge, m.previous, m.recipient, m.app, m.mailbox, m.created_at,
                        static_cast<int>(m.row.kind), static_cast<int>(m.row.state), m.row.not_after,
                        m.row.due_at, m.row.revision, m.message_id, m.template_name, m.template_version,
                        TextOrNull{m.locale}, TextOrNull{m.metadata}, static_cast<int>(m.row.on_uncertain));
  if (!added) return tl::unexpected(added.error());
  m.n = writer_.db.last_rowid();
  if (auto body = sql(WriterSql::body_add).run(m.n, writer_.keys.writing(), Blob{*sealed}); !body)
    return tl::unexpected(body.error());
  if (m.previous) {
    not_fresh(*m.previous);
    if (auto old = sql(WriterSql::message_not_current).run(*m.previous); !old)
      return tl::unexpected(old.error());
  }
  counted_.accept(m.row.state);
  changed(m.challenge, m.id);
  if (auto logged = append(m, cause, {}); !logged) return tl::unexpected(logged.error());
  if (fresh_.size() < places_) fresh_.push_back({m, draft.mail.content.clone()});
  return m;
}

std::vector<Transaction::Fresh> Transaction::take_fresh() {
  const std::size_t queued = Counters::messages(core::MessageState::queued);
  std::vector<Fresh> out = std::exchange(fresh_, {});
  if (std::cmp_not_equal(writer_.totals[queued] + counted_[queued], out.size())) return {};
  std::ranges::sort(out, {},
                    [](const Fresh& one) { return std::pair(one.message.row.due_at, one.message.n); });
  return out;
}

void Transaction::not_fresh(std::int64_t n) {
  if (fresh_.empty() || n < fresh_.front().message.n) return;
  std::erase_if(fresh_, [n](const Fresh& one) { return one.message.n == n; });
}

Result<> Transaction::save(const MessageRecord& m, core::WallTime at) {
  std::optional<int> reply_code;
  std::string_view reply_status;
  std::string_view reply_text;
  if (const auto& reply = m.row.reply) {
    reply_code = reply->code;
    reply_status = reply->status;
    reply_text = reply->text;
  }
  std::optional<int> kind;
  std::optional<int> permanent;
  std::optional<int> source;
  std::optional<core::WallTime> verdict_at;
  std::string_view verdict_class;
  std::string_view status;
  std::string_view detail;
  if (const auto& verdict = m.row.verdict) {
    kind = static_cast<int>(verdict->kind);
    permanent = verdict->permanent ? 1 : 0;
    source = static_cast<int>(verdict->source);
    verdict_at = verdict->at;
    verdict_class = verdict->verdict_class;
    status = verdict->status;
    detail = verdict->detail;
  }
  std::string tried;
  for (const std::string& relay : m.row.tried)
    tried += (tried.empty() ? "" : ",") + relay;
  std::optional<int> ends_as;
  if (m.row.ends_as) ends_as = static_cast<int>(*m.row.ends_as);
  std::optional<core::WallTime> ended_at;
  if (is_over(m.row)) ended_at = at;
  return sql(WriterSql::message_save)
      .run(m.n, static_cast<int>(m.row.state), m.row.attempt, m.row.attempts, m.row.uncertain, m.row.orphaned,
           m.row.not_after, m.row.due_at, m.row.revision, TextOrNull{m.row.relay}, reply_code,
           TextOrNull{reply_status}, TextOrNull{reply_text}, kind, TextOrNull{verdict_class}, permanent,
           TextOrNull{status}, TextOrNull{detail}, source, verdict_at, static_cast<int>(m.row.waits_for),
           TextOrNull{tried}, TextOrNull{m.row.refused_by}, ends_as, ended_at);
}

Result<bool> Transaction::step_alone(MessageRecord& m, const core::MessageEvent& event, const Cause& cause,
                                     std::string_view detail) {
  const core::OtherRelay other = core::other_relay(m.row, relays_);
  core::MessageStep step = core::step(m.row, event, writer_.rules->policy, cause.at, writer_.random, other);
  if (!step.changed) return false;
  not_fresh(m.n);
  const core::MessageRow before = std::exchange(m.row, std::move(step.row));
  if (auto saved = save(m, cause.at); !saved) return tl::unexpected(saved.error());
  if (step.erase_content) {
    if (auto erased = sql(WriterSql::body_erase).run(m.n); !erased) return tl::unexpected(erased.error());
  }
  counted_.move(before.state, m.row.state);
  // A claim and the return to the queue are told by the attempt number of the event that follows them.
  const bool news = m.row.revision != before.revision;
  if (news) {
    changed(m.challenge, m.id);
    if (auto logged = append(m, cause, detail); !logged) return tl::unexpected(logged.error());
  }
  return true;
}

Result<bool> Transaction::step(MessageRecord& m, const core::MessageEvent& event, const Cause& cause,
                               std::string_view detail) {
  const std::uint64_t revision = m.row.revision;
  auto stepped = step_alone(m, event, cause, detail);
  if (!stepped || !*stepped || m.row.revision == revision) return stepped;
  if (auto told = tell_challenge(m, cause); !told) return tl::unexpected(told.error());
  return true;
}

Result<> Transaction::tell_challenge(const MessageRecord& m, const Cause& cause) {
  if (!m.challenge || !m.current) return {};
  // What became of the mail is true whether its challenge can be told or not.
  if (writer_.bad.untold.contains(*m.challenge)) return {};
  // What the machine needs to know for this event, without the rest of a wide row.
  const auto clock =
      only_row<ChallengeClock>(sql(WriterSql::challenge_clock).select(*m.challenge), read_challenge_clock);
  if (!clock && clock.error().code == Errc::corrupt) writer_.bad.untold.insert(*m.challenge);
  if (!clock) return tl::unexpected(clock.error());
  if (!*clock) return {};  // purged before its message
  const core::ChallengeStep step = core::step((*clock)->row, core::ChallengeEvent::message_changed, cause.at);
  if (step.outcome != core::ChallengeOutcome::expired)
    return sql(WriterSql::challenge_note).run((*clock)->n, step.row.revision);
  auto found = challenge((*clock)->n);
  if (!found && found.error().code == Errc::corrupt) writer_.bad.untold.insert(*m.challenge);
  if (!found) return tl::unexpected(found.error());
  if (!*found) return {};
  ChallengeRecord& c = **found;
  return end(c, core::step(c.row, core::ChallengeEvent::message_changed, cause.at), cause);
}

Result<> Transaction::remove(const MessageRecord& m) {
  not_fresh(m.n);
  if (m.challenge) {
    if (auto done = sql(WriterSql::challenge_forget_message).run(*m.challenge, m.n); !done) return done;
  }
  if (auto done = sql(WriterSql::body_erase).run(m.n); !done) return done;
  if (auto done = sql(WriterSql::message_remove).run(m.n); !done) return done;
  writer_.bad.bodies.erase(m.n);  // the number's next owner is another message
  // One that had not come to its end ends here.
  if (is_open(m.row.state)) counted_.move(m.row.state, core::MessageState::canceled);
  counted_.remove(is_open(m.row.state) ? core::MessageState::canceled : m.row.state);
  changed(m.challenge, m.id);
  return {};
}

Result<core::Secret> Transaction::content(const MessageRecord& m) {
  if (writer_.bad.bodies.contains(m.n))
    return core::fail(Errc::corrupt, fmt::format("store: message {} has a bad body", core::to_string(m.id)));
  Rows rows = sql(WriterSql::body_get).select(m.n);
  const auto found = rows.next();
  if (!found) return tl::unexpected(found.error());
  if (!*found)
    return core::fail(Errc::corrupt, fmt::format("store: message {} has no body", core::to_string(m.id)));
  return writer_.keys.unseal(static_cast<KeyId>(rows.integer(0)), Sealed::content, m.id, rows.blob(1));
}

Result<> Transaction::append(int type, const About& about, const Cause& cause, std::string_view detail) {
  appended_ = true;
  return sql(WriterSql::event_add)
      .run(cause.at, type, about.app, about.challenge, about.message, static_cast<int>(cause.actor.kind),
           cause.actor.uid, TextOrNull{detail}, about.recipient);
}

Result<> Transaction::append(ChallengeNews news, const ChallengeRecord& c, const Cause& cause,
                             std::string_view detail) {
  return append(static_cast<int>(news), {c.app, c.id, {}}, cause, detail);
}

Result<> Transaction::append(const MessageRecord& m, const Cause& cause, std::string_view detail) {
  return append(k_message_event + static_cast<int>(m.row.state), {m.app, m.challenge, m.id}, cause, detail);
}

Result<> Transaction::append(RecipientNews news, const About& about, const Cause& cause,
                             std::string_view detail) {
  return append(k_recipient_event + static_cast<int>(news), about, cause, detail);
}

Result<> Transaction::append(AppNews news, const std::string& app, const Cause& cause,
                             std::string_view detail) {
  return append(k_app_event + static_cast<int>(news), {app, {}, {}}, cause, detail);
}

void Transaction::changed(std::optional<core::Id> challenge, std::optional<core::Id> message) {
  changes_.push_back({challenge, message});
}

Result<> Transaction::write_counted() {
  if (auto used = usage_.flush(); !used) return used;
  auto braked = brakes_.flush(sql(WriterSql::brake_add), sql(WriterSql::brake_forget), writer_.rules->brake,
                              even(now_));
  if (!braked) return braked;
  for (std::size_t i = 0; i < Counters::k_size; ++i) {
    if (counted_[i] == 0) continue;
    if (auto added = sql(WriterSql::counter_add).run(Counters::name(i), counted_[i]); !added) return added;
  }
  return {};
}

void Transaction::take_over() {
  writer_.totals.add(counted_);
  writer_.shifted = shifted_;
  brakes_.commit();
}

void Transaction::put_back() {
  if (keys_before_) writer_.keys = *std::move(keys_before_);
  if (rules_before_) writer_.rules = std::move(rules_before_);
}

Result<std::optional<core::WallTime>> Transaction::next_due() {
  Rows rows = sql(WriterSql::next_due).select();
  const auto found = rows.next();
  if (!found) return tl::unexpected(found.error());
  if (!*found || rows.is_null(0) || rows.time(0) >= core::k_never) return std::optional<core::WallTime>{};
  return std::optional(rows.time(0));
}

Result<bool> Transaction::more_queued() {
  return sql(WriterSql::message_any_queued).select().next();
}

}  // namespace mailotp::store
