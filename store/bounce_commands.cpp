#include "store/bounce_commands.h"

#include "store/suppression.h"
#include "store/trace.h"

namespace mailotp::store {

using core::BounceKind;
using core::Correlation;
using core::Result;

namespace {

constexpr int k_newest_bounces = 100;  // of one recipient, among which the rules look back

// A copy of it left in the last ten days, or may have.
bool has_left(const MessageRecord& m, core::WallTime at) {
  using core::MessageState;
  const core::WallTime when = m.ended_at.value_or(m.created_at);
  if (when <= at - core::k_traced_for) return false;
  switch (m.row.state) {
    case MessageState::sending:
    case MessageState::uncertain:
    case MessageState::relayed:
    case MessageState::delivered:
    case MessageState::bounced:
      return true;
    case MessageState::queued:
    case MessageState::deferred:
    case MessageState::held:
      return m.row.uncertain > 0;
    case MessageState::failed:
    case MessageState::expired:
    case MessageState::superseded:
    case MessageState::canceled:
    case MessageState::suppressed:
      return false;
  }
  return false;
}

Result<std::optional<core::BounceView>> known_event(Transaction& tx, const core::Id& message, BounceKind kind,
                                                    core::BounceClass bounce_class) {
  Rows rows =
      tx.sql(WriterSql::bounce_event).select(message, static_cast<int>(kind), static_cast<int>(bounce_class));
  const auto found = rows.next();
  if (!found) return tl::unexpected(found.error());
  if (!*found) return std::optional<core::BounceView>{};
  auto view = read_bounce(rows);
  if (!view) return tl::unexpected(view.error());
  return std::optional(*std::move(view));
}

Result<std::vector<core::PastBounce>> history(Transaction& tx, const MessageRecord& m, core::WallTime at) {
  return all_rows<core::PastBounce>(
      tx.sql(WriterSql::bounce_history)
          .select(m.recipient, m.app, at - core::k_bounce_history, k_newest_bounces),
      [](const Rows& rows) {
        return core::PastBounce{rows.time(0), static_cast<core::BounceSource>(rows.integer(1)),
                                static_cast<core::BounceClass>(rows.integer(2))};
      });
}

std::string told(const core::BounceView& view) {
  Detail detail;
  detail.add("kind", to_string(view.kind)).add("class", to_string(view.bounce_class));
  if (!view.status.empty()) detail.add("status", view.status);
  return detail.add("source", to_string(view.source)).add("rule", view.rule).take();
}

class Recording {
 public:
  Recording(Transaction& tx, Report report, const Cause& cause)
      : tx_(tx), report_(std::move(report)), cause_(cause) {}

  Result<core::BounceRecorded> run() {
    core::BounceView view = first_view();
    if (report_.id && report_.traced_by >= core::TracedBy::message_token) {
      auto known = known_event(tx_, *report_.id, report_.kind, view.bounce_class);
      if (!known) return tl::unexpected(known.error());
      if (*known) return core::BounceRecorded{**std::move(known), true};
    }
    core::Judgement judgement;
    if (report_.message) {
      const auto past = history(tx_, *report_.message, cause_.at);
      if (!past) return tl::unexpected(past.error());
      judgement =
          core::judge(event_, report_.correlation, left(), *past, tx_.writer().rules->verdicts, cause_.at);
    }
    view.weight = judgement.weight;
    if (auto added = add(view); !added) return tl::unexpected(added.error());
    if (report_.message) {
      if (auto followed = follow(judgement); !followed) return tl::unexpected(followed.error());
    }
    count(view);
    core::BounceNews news{view, {}};
    if (report_.message) news.relay = report_.message->row.relay;
    tx_.recorded(std::move(news));
    return core::BounceRecorded{std::move(view), false};
  }

 private:
  [[nodiscard]] bool left() const {
    return report_.source == core::BounceSource::smtp || has_left(*report_.message, cause_.at);
  }

  core::BounceView first_view() {
    const core::BouncedRecipient& said = report_.recipient;
    event_ = {report_.source, report_.kind, said.bounce_class, said.permanent, said.null_mx};
    core::BounceView view;
    view.at = cause_.at;
    view.source = report_.source;
    view.kind = report_.kind;
    view.bounce_class = said.bounce_class;
    view.permanent = said.permanent;
    view.recipient = report_.message ? report_.message->mailbox : said.address;
    view.message = report_.message ? report_.message->id : report_.id;
    if (report_.message) view.app = report_.message->app;
    view.status = said.status;
    view.diagnostic = said.diagnostic.substr(0, core::k_bounce_diagnostic);
    view.rule = report_.rule.substr(0, core::k_bounce_rule);
    view.traced_by = report_.traced_by;
    return view;
  }

  // Of an untraced one the address that it names, where we know it: so that a list of that address shows it.
  Result<std::optional<std::int64_t>> recipient() {
    if (report_.message) return std::optional(report_.message->recipient);
    const auto address = core::parse_address(report_.recipient.address);
    if (!address) return std::optional<std::int64_t>{};
    return tx_.known_recipient(*address);
  }

  Result<> add(core::BounceView& view) {
    const auto recipient_row = recipient();
    if (!recipient_row) return tl::unexpected(recipient_row.error());
    std::optional<int> permanent;
    if (view.permanent) permanent = *view.permanent ? 1 : 0;
    std::optional<std::uint32_t> uidvalidity;
    std::optional<std::uint32_t> uid;
    std::optional<Blob> hash;
    if (const auto& mail = report_.mail) {
      uidvalidity = mail->mail.uidvalidity;
      uid = mail->mail.uid;
      hash = Blob{bytes_of(mail->hash)};
    }
    auto added =
        tx_.sql(WriterSql::bounce_add)
            .run(view.at, static_cast<int>(view.source), static_cast<int>(view.kind),
                 static_cast<int>(view.bounce_class), permanent, *recipient_row, TextOrNull{view.recipient},
                 view.message, TextOrNull{view.app}, TextOrNull{view.status}, TextOrNull{view.diagnostic},
                 TextOrNull{view.rule}, static_cast<int>(view.traced_by), static_cast<int>(view.weight),
                 uidvalidity, uid, hash);
    if (!added) return added;
    view.n = tx_.writer().db.last_rowid();
    if (!report_.message) return {};
    const MessageRecord& m = *report_.message;
    return tx_.append(RecipientNews::reported, {m.app, m.challenge, m.id}, cause_, told(view));
  }

  // The message, then its recipient.
  Result<> follow(const core::Judgement& judgement) {
    MessageRecord& m = *report_.message;
    const core::Verdict verdict =
        core::verdict_of(event_, report_.recipient.status, report_.recipient.diagnostic, cause_.at);
    const bool by_relay = report_.source == core::BounceSource::smtp;  // which has told the message itself
    if (judgement.tells && !by_relay) {
      if (auto stepped = tx_.step(m, message_event(verdict), cause_); !stepped)
        return tl::unexpected(stepped.error());
    }
    if (judgement.proves) return note_proof(tx_, m.recipient, m.app, cause_);
    if (report_.kind != BounceKind::bounce || !judgement.tells) return {};
    const core::Verdict& shown = by_relay && m.row.verdict ? *m.row.verdict : verdict;
    if (auto noted = note_verdict(tx_, m, shown, judgement.weight, cause_); !noted) return noted;
    if (!judgement.suppresses) return {};
    return suppress(tx_, m, shown, event_.bounce_class, report_.source, cause_);
  }

  [[nodiscard]] core::MessageEvent message_event(const core::Verdict& verdict) const {
    if (report_.kind == BounceKind::success) return core::SuccessDsn{};
    if (report_.kind == BounceKind::delay) return core::DelayDsn{verdict};
    return core::FailureDsn{verdict};
  }

  void count(const core::BounceView& view) {
    if (view.kind == BounceKind::bounce) ++tx_.counted()[Counters::bounces(view.bounce_class)];
    if (report_.correlation == Correlation::contradictory) ++tx_.counted()[Counters::k_contradictory];
  }

  Transaction& tx_;
  Report report_;
  Cause cause_;
  core::BounceEvent event_;
};

}  // namespace

Result<core::BounceRecorded> record(Transaction& tx, Report report, const Cause& cause) {
  return Recording(tx, std::move(report), cause).run();
}

Result<core::Answer> report_bounce(Transaction& tx, const core::ReportBounce& command) {
  TokensFound found;
  for (std::string_view text : {std::string_view(command.message_id), std::string_view(command.envid)}) {
    if (text.starts_with('<')) text.remove_prefix(1);
    if (text.ends_with('>')) text.remove_suffix(1);
    if (!text.empty()) found.of_messages.emplace_back(text);
  }
  auto traced = trace(tx, found, command.at);
  if (!traced) return tl::unexpected(traced.error());
  // Two tokens that lead to different messages name none.
  if (!traced->message) return core::Refusal{};
  Report report;
  report.source = core::BounceSource::provider;
  report.kind = command.recipient.kind;
  report.recipient = command.recipient;
  report.rule = "provider";
  report.correlation = traced->correlation;
  report.traced_by = traced->by;
  report.id = traced->id;
  report.message = std::move(traced->message);
  auto recorded = record(tx, std::move(report), Cause{command.at, command.actor});
  if (!recorded) return tl::unexpected(recorded.error());
  return *std::move(recorded);
}

Result<> record_refusal(Transaction& tx, const MessageRecord& m, const Cause& cause) {
  if (!m.row.verdict || m.row.verdict->source != core::VerdictSource::smtp) return {};
  const core::Verdict& verdict = *m.row.verdict;
  Report report;
  report.source = core::BounceSource::smtp;
  report.recipient.address = m.mailbox;
  report.recipient.permanent = verdict.permanent;
  report.recipient.status = verdict.status;
  report.recipient.diagnostic = verdict.detail;
  report.recipient.bounce_class =
      core::parse_bounce_class(verdict.verdict_class).value_or(core::BounceClass::unknown);
  // 556, or 5.1.10: the domain takes no mail (RFC 7505 section 4).
  report.recipient.null_mx = report.recipient.bounce_class == core::BounceClass::host_not_accepting &&
                             (verdict.status.ends_with(".1.10") || (m.row.reply && m.row.reply->code == 556));
  report.rule = "smtp-reply";
  report.correlation = Correlation::message;
  report.traced_by = core::TracedBy::message_token;
  report.id = m.id;
  report.message = m;
  auto recorded = record(tx, std::move(report), cause);
  if (!recorded) return tl::unexpected(recorded.error());
  return {};
}

}  // namespace mailotp::store
