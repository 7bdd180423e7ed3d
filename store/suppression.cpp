#include "store/suppression.h"

#include <algorithm>

#include "store/message_lists.h"

namespace mailotp::store {

using core::Result;

namespace {

constexpr int k_newest_messages = 500;        // of one recipient; open ones are among them
constexpr core::Millis k_look_again{60'000};  // at a probe that has not left yet

Result<std::optional<SuppressionRecord>> find(Transaction& tx, std::int64_t recipient, const std::string& app,
                                              core::BounceClass bounce_class) {
  auto found = all_records<SuppressionRecord>(
      tx.sql(WriterSql::suppression_of).select(recipient, app, static_cast<int>(bounce_class)),
      read_suppression);
  if (!found) return tl::unexpected(found.error());
  if (found->empty()) return std::optional<SuppressionRecord>{};
  return std::optional(std::move(found->front()));
}

Result<> save(Transaction& tx, const SuppressionRecord& s) {
  return tx.sql(WriterSql::suppression_save)
      .run(s.recipient, s.app, static_cast<int>(s.bounce_class), s.mailbox, s.since, s.until, s.probe_at,
           static_cast<int>(s.source), s.times);
}

// Ends what has not left. `app` empty: of all apps. A probe is for this very case.
Result<> end_unsent(Transaction& tx, const SuppressionRecord& s, const core::Verdict& verdict,
                    const Cause& cause) {
  const auto unsent = all_rows<std::int64_t>(
      tx.sql(WriterSql::message_unsent_of).select(s.recipient, s.app, k_newest_messages),
      [](const Rows& rows) { return rows.integer(0); });
  if (!unsent) return tl::unexpected(unsent.error());
  for (const std::int64_t n : *unsent) {
    auto& bad = tx.writer().bad.messages;
    if (bad.contains(n)) continue;
    auto found = tx.message(n);
    if (!found && found.error().code == core::Errc::corrupt) bad.insert(n);
    if (!found) return tl::unexpected(found.error());
    if (!*found || (s.probe && (*found)->id == *s.probe)) continue;
    if (auto stepped = tx.step(**found, core::Suppress{verdict}, cause); !stepped)
      return tl::unexpected(pass_over(tx, **found, stepped.error()));
  }
  return {};
}

std::string told(const SuppressionRecord& s) {
  Detail detail;
  detail.add("class", to_string(s.bounce_class)).add("source", to_string(s.source)).add("times", s.times);
  if (s.until < core::k_never) detail.add("until", core::format_rfc3339(s.until));
  return detail.take();
}

// As it stands after one more proof of death; none when this one is of the wave that is known.
std::optional<SuppressionRecord> grown(std::optional<SuppressionRecord> old, const MessageRecord& m,
                                       core::WallTime at) {
  if (!old) {
    SuppressionRecord fresh;
    fresh.recipient = m.recipient;
    fresh.app = m.app;
    fresh.since = at;
    fresh.until = at + core::suppressed_for(1);
    fresh.probe_at = at;
    return fresh;
  }
  // A mail from before it was suppressed tells what is known already, however late its bounce comes.
  const bool news = m.created_at > old->since;
  if (!news && old->until > at) return std::nullopt;
  if (news) ++old->times;
  old->since = at;
  old->until = at + core::suppressed_for(old->times);
  old->probe_at = std::max(old->probe_at.value_or(at), at);
  old->probe.reset();
  return old;
}

Result<> heal(Transaction& tx, std::int64_t recipient, const std::string& app, std::string_view by,
              const Transaction::About& about, const Cause& cause) {
  if (auto gone = tx.sql(WriterSql::suppression_heal).run(recipient, app); !gone) return gone;
  if (tx.writer().db.changed() == 0) return {};
  Detail detail;
  return tx.append(RecipientNews::healed, about, cause, detail.add("by", by).take());
}

core::Verdict verdict_of(const SuppressionRecord& s, core::WallTime at) {
  core::Verdict verdict;
  verdict.kind = core::VerdictKind::undeliverable;
  verdict.verdict_class = to_string(s.bounce_class);
  verdict.permanent = true;
  verdict.detail = "the address is suppressed";
  verdict.source = core::VerdictSource::policy;
  verdict.at = at;
  return verdict;
}

}  // namespace

Result<Gate> gate(Transaction& tx, const core::Address& address, const std::string& app,
                  core::SuppressedUse use, core::WallTime at) {
  Gate out;
  const auto recipient = tx.known_recipient(address);
  if (!recipient) return tl::unexpected(recipient.error());
  if (!*recipient) return out;
  auto in_force = all_records<SuppressionRecord>(
      tx.sql(WriterSql::suppression_in_force).select(**recipient, app, at), read_suppression);
  if (!in_force) return tl::unexpected(in_force.error());
  if (in_force->empty()) return out;
  const auto ripe = [&](const SuppressionRecord& s) { return s.probe_at && *s.probe_at <= at; };
  if (use == core::SuppressedUse::probe && std::ranges::all_of(*in_force, ripe)) {
    out.probed = *std::move(in_force);
    return out;
  }
  const auto longest = std::ranges::max_element(*in_force, {}, &SuppressionRecord::until);
  out.refusal.emplace();
  out.refusal->kind = core::RefusalKind::recipient_suppressed;
  out.refusal->suppression = view_of(*longest);
  return out;
}

Result<> note_probe(Transaction& tx, const Gate& gate, const core::Id& message, core::WallTime at) {
  for (const SuppressionRecord& s : gate.probed) {
    auto noted = tx.sql(WriterSql::suppression_probed)
                     .run(s.n, at + core::k_probe_pause, message, at + core::k_probe_proof);
    if (!noted) return noted;
  }
  return {};
}

Result<> suppress(Transaction& tx, const MessageRecord& m, const core::Verdict& verdict,
                  core::BounceClass bounce_class, core::BounceSource source, const Cause& cause) {
  auto old = find(tx, m.recipient, m.app, bounce_class);
  if (!old) return tl::unexpected(old.error());
  auto now = grown(*std::move(old), m, cause.at);
  if (!now) return {};
  now->bounce_class = bounce_class;
  now->source = source;
  now->mailbox = m.mailbox;
  if (auto saved = save(tx, *now); !saved) return saved;
  ++tx.counted()[Counters::k_suppressed];
  if (auto logged = tx.append(RecipientNews::suppressed, {m.app, m.challenge, m.id}, cause, told(*now));
      !logged)
    return logged;
  core::Verdict of_others = verdict;
  of_others.source = core::VerdictSource::policy;
  return end_unsent(tx, *now, of_others, cause);
}

Result<> note_proof(Transaction& tx, std::int64_t recipient, const std::string& app, const Cause& cause) {
  if (auto noted = tx.sql(WriterSql::evidence_proven).run(recipient, app, cause.at); !noted) return noted;
  return heal(tx, recipient, app, "proof", {app, {}, {}, recipient}, cause);
}

Result<> note_verdict(Transaction& tx, const MessageRecord& m, const core::Verdict& verdict,
                      core::VerdictWeight weight, const Cause& cause) {
  std::optional<core::WallTime> doubted_at;
  // Our own reputation says nothing of the address.
  if (weight == core::VerdictWeight::hard || weight == core::VerdictWeight::soft) doubted_at = cause.at;
  return tx.sql(WriterSql::evidence_verdict)
      .run(m.recipient, m.app, cause.at, doubted_at, weight == core::VerdictWeight::hard ? 1 : 0,
           static_cast<int>(verdict.kind), verdict.verdict_class, verdict.permanent ? 1 : 0,
           TextOrNull{verdict.status}, TextOrNull{verdict.detail}, static_cast<int>(verdict.source),
           verdict.at);
}

// One whose row cannot be read is looked at no more: it would fail with each sweep, and all else with it.
static Result<std::vector<SuppressionRecord>> due_for_a_look(Transaction& tx, core::WallTime at, int limit) {
  std::vector<SuppressionRecord> out;
  std::vector<std::int64_t> bad;
  {
    Rows rows = tx.sql(WriterSql::suppression_due).select(at, limit);
    for (;;) {
      const auto more = rows.next();
      if (!more) return tl::unexpected(more.error());
      if (!*more) break;
      auto record = read_suppression(rows);
      if (record)
        out.push_back(*std::move(record));
      else
        bad.push_back(rows.integer(0));
    }
  }
  for (const std::int64_t n : bad) {
    ++tx.unreadable();
    if (auto noted = tx.sql(WriterSql::suppression_check).run(n, std::optional<core::WallTime>{}); !noted)
      return tl::unexpected(noted.error());
  }
  return out;
}

// True: it heals. A time: look again then. Neither: it has shown nothing.
struct ProbeNews {
  bool lives = false;
  std::optional<core::WallTime> look_at = {};
};

static ProbeNews news_of(const std::optional<MessageRecord>& probe, core::WallTime at) {
  if (!probe) return {};
  const core::MessageRow& row = probe->row;
  if (row.state == core::MessageState::delivered) return {.lives = true};
  if (row.state == core::MessageState::relayed) {
    if (row.verdict || !probe->ended_at) return {};  // late: no proof
    const core::WallTime proof = *probe->ended_at + core::k_probe_proof;
    return proof <= at ? ProbeNews{.lives = true} : ProbeNews{.look_at = proof};
  }
  if (!is_over(row)) return {.look_at = at + k_look_again};
  return {};
}

Result<std::uint64_t> check_probes(Transaction& tx, const Cause& cause, int limit) {
  auto due = due_for_a_look(tx, cause.at, limit);
  if (!due) return tl::unexpected(due.error());
  for (const SuppressionRecord& s : *due) {
    std::optional<MessageRecord> probe;
    if (s.probe && !tx.writer().bad.deaf.contains(*s.probe)) {
      auto found = tx.message(*s.probe);
      if (!found && found.error().code == core::Errc::corrupt) tx.writer().bad.deaf.insert(*s.probe);
      if (!found) return tl::unexpected(found.error());
      probe = *std::move(found);
    }
    const ProbeNews news = news_of(probe, cause.at);
    if (!news.lives) {
      if (auto noted = tx.sql(WriterSql::suppression_check).run(s.n, news.look_at); !noted)
        return tl::unexpected(noted.error());
      continue;
    }
    // That nothing came back is less than a proof: nobody calls it deliverable for that.
    if (auto noted = tx.sql(WriterSql::evidence_soften).run(s.recipient, s.app); !noted)
      return tl::unexpected(noted.error());
    if (auto healed = heal(tx, s.recipient, s.app, "probe", {s.app, probe->challenge, probe->id}, cause);
        !healed)
      return tl::unexpected(healed.error());
  }
  return due->size();
}

Result<core::Answer> put_suppression(Transaction& tx, const core::PutSuppression& command) {
  const Cause cause{command.at, command.actor};
  const auto recipient = tx.recipient(command.address);
  if (!recipient) return tl::unexpected(recipient.error());
  SuppressionRecord s;
  s.recipient = *recipient;
  s.bounce_class = command.bounce_class;
  s.mailbox = command.address.mailbox();
  s.since = command.at;
  s.until = command.until.value_or(core::k_never);
  s.source = core::BounceSource::provider;
  if (auto saved = save(tx, s); !saved) return tl::unexpected(saved.error());
  ++tx.counted()[Counters::k_suppressed];
  if (auto logged = tx.append(RecipientNews::suppressed, {s.app, {}, {}, s.recipient}, cause, told(s));
      !logged)
    return tl::unexpected(logged.error());
  if (auto ended = end_unsent(tx, s, verdict_of(s, command.at), cause); !ended)
    return tl::unexpected(ended.error());
  return core::SuppressionAnswer{view_of(s)};
}

Result<core::Answer> drop_suppression(Transaction& tx, const core::DropSuppression& command) {
  const auto recipient = tx.known_recipient(command.address);
  if (!recipient) return tl::unexpected(recipient.error());
  core::Refusal none;
  if (!*recipient) return none;
  if (auto gone = tx.sql(WriterSql::suppression_drop).run(**recipient); !gone)
    return tl::unexpected(gone.error());
  if (tx.writer().db.changed() == 0) return none;
  if (auto noted = tx.sql(WriterSql::evidence_soften).run(**recipient, std::string()); !noted)
    return tl::unexpected(noted.error());
  Detail detail;
  const std::string app;
  if (auto logged = tx.append(RecipientNews::healed, {app, {}, {}, **recipient},
                              Cause{command.at, command.actor}, detail.add("by", "operator").take());
      !logged)
    return tl::unexpected(logged.error());
  if (auto done = tx.sql(WriterSql::recipient_forget).run(**recipient); !done)
    return tl::unexpected(done.error());
  return core::Done{};
}

}  // namespace mailotp::store
