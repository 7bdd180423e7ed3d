#include "store/mailbox_commands.h"

#include "store/bounce_commands.h"
#include "store/challenge_secrets.h"
#include "store/trace.h"

namespace mailotp::store {

using core::BounceKind;
using core::MailFate;
using core::Result;

namespace {

struct Reading {
  std::uint32_t uidvalidity = 0;
  std::uint32_t after_uid = 0;
  std::uint64_t foreign = 0;
  std::uint32_t left_until = 0;  // moves up to here were left over when it was opened; 0: none
};

Result<std::optional<Reading>> reading(Transaction& tx) {
  Rows rows = tx.sql(WriterSql::mailbox_get).select();
  const auto found = rows.next();
  if (!found) return tl::unexpected(found.error());
  if (!*found) return std::optional<Reading>{};
  return std::optional(
      Reading{static_cast<std::uint32_t>(rows.integer(0)), static_cast<std::uint32_t>(rows.integer(1)),
              static_cast<std::uint64_t>(rows.integer(2)), static_cast<std::uint32_t>(rows.integer(3))});
}

MailFate fate_from(std::int64_t stored) {
  return stored == static_cast<std::int64_t>(MailFate::processed) ? MailFate::processed
                                                                  : MailFate::unrecognised;
}

// The first of what is left over; some of them may be on their way already.
Result<core::Answer> state_of(Transaction& tx, const Reading& now) {
  core::MailboxState out;
  out.after_uid = now.after_uid;
  out.foreign = now.foreign;
  if (now.left_until == 0) return out;
  auto moves = all_rows<core::MailToMove>(
      tx.sql(WriterSql::mail_to_move)
          .select(now.uidvalidity, now.left_until, std::int64_t{core::k_mails_a_fact}),
      [](const Rows& rows) {
        return core::MailToMove{static_cast<std::uint32_t>(rows.integer(0)), fate_from(rows.integer(1))};
      });
  if (!moves) return tl::unexpected(moves.error());
  const std::uint32_t left_until = moves->empty() ? 0 : now.left_until;
  if (auto noted = tx.sql(WriterSql::mailbox_left).run(left_until); !noted)
    return tl::unexpected(noted.error());
  out.moves = *std::move(moves);
  return out;
}

Result<> keep(Transaction& tx, core::WallTime at, core::MailUid mail, const std::optional<Blob>& hash,
              MailFate fate) {
  if (fate == MailFate::leave) {
    // A person may have thousands of mails there: they are counted, and known by the cursor alone.
    return tx.sql(WriterSql::mailbox_read).run(mail.uidvalidity, mail.uid, 1);
  }
  if (auto added =
          tx.sql(WriterSql::mail_add).run(at, mail.uidvalidity, mail.uid, hash, static_cast<int>(fate));
      !added)
    return added;
  return tx.sql(WriterSql::mailbox_read).run(mail.uidvalidity, mail.uid, 0);
}

// What became of it when it was seen before; by its place, or by what is in it.
Result<std::optional<MailFate>> known(Transaction& tx, core::WallTime at, core::MailUid mail,
                                      const Blob& hash) {
  std::int64_t n = 0;
  bool same = false;
  bool moved = false;
  std::optional<MailFate> fate;
  {
    Rows rows = tx.sql(WriterSql::mail_at).select(mail.uidvalidity, mail.uid);
    const auto found = rows.next();
    if (!found) return tl::unexpected(found.error());
    if (*found) {
      n = rows.integer(0);
      same = rows.is_null(1) || rows.blob(1) == hash.bytes;
      fate = fate_from(rows.integer(2));
      moved = rows.integer(3) != 0;
    }
  }
  if (fate && same) {
    if (!moved) return fate;
    if (auto noted = tx.sql(WriterSql::mail_again).run(n); !noted) return tl::unexpected(noted.error());
    return fate;
  }
  // Another mail where that one was: the server has given a number out twice.
  if (fate) {
    if (auto gone = tx.sql(WriterSql::mail_displaced).run(n); !gone) return tl::unexpected(gone.error());
    fate.reset();
  }
  {
    Rows rows = tx.sql(WriterSql::mail_of_hash).select(hash);
    const auto found = rows.next();
    if (!found) return tl::unexpected(found.error());
    if (*found) fate = fate_from(rows.integer(0));
  }
  if (!fate) return fate;
  if (auto kept = keep(tx, at, mail, hash, *fate); !kept) return tl::unexpected(kept.error());
  return fate;
}

MailFate fate_of(const core::MailRead& mail, bool traced, core::ForeignMail foreign) {
  if (!mail.addressed && !traced)
    return foreign == core::ForeignMail::move ? MailFate::unrecognised : MailFate::leave;
  switch (mail.report.kind) {
    case BounceKind::bounce:
    case BounceKind::delay:
    case BounceKind::success:
    case BounceKind::feedback:
      return MailFate::processed;
    case BounceKind::none:
    case BounceKind::auto_reply:
      return MailFate::unrecognised;
  }
  return MailFate::unrecognised;
}

// What the mail says of our recipient, and what kind of event that is.
Report report_of(const core::MailRead& mail, Trace traced) {
  Report out;
  out.kind = mail.report.kind;
  out.rule = mail.report.rule;
  core::Address ours;
  if (traced.message) ours = address_of(traced.message->mailbox);
  const auto* said = core::reported(mail.report, traced.message ? ours.key() : std::string(), ours.domain);
  if (said != nullptr) {
    out.recipient = *said;
    const bool about_delivery =
        out.kind == BounceKind::bounce || out.kind == BounceKind::delay || out.kind == BounceKind::success;
    if (about_delivery) out.kind = said->kind;
  }
  out.correlation = traced.correlation;
  out.traced_by = traced.by;
  out.id = traced.id;
  out.message = std::move(traced.message);
  out.mail = mail;
  return out;
}

}  // namespace

Result<core::Answer> open_mailbox(Transaction& tx, const core::OpenMailbox& command) {
  auto before = reading(tx);
  if (!before) return tl::unexpected(before.error());
  Reading now = before->value_or(Reading{});
  if (!*before || now.uidvalidity != command.uidvalidity) {
    if (auto opened = tx.sql(WriterSql::mailbox_open).run(command.uidvalidity); !opened)
      return tl::unexpected(opened.error());
    // Nothing can be moved by its old number; what is still there is met again, and known by its hash.
    if (*before) {
      if (auto gone = tx.sql(WriterSql::mail_gone).run((*before)->uidvalidity); !gone)
        return tl::unexpected(gone.error());
    }
    now = Reading{.uidvalidity = command.uidvalidity};
    return state_of(tx, now);
  }
  now.left_until = now.after_uid;
  return state_of(tx, now);
}

Result<core::Answer> record_mail(Transaction& tx, const core::RecordMail& command) {
  const core::MailRead& mail = command.mail;
  const Blob hash{bytes_of(mail.hash)};
  const auto before = known(tx, command.at, mail.mail, hash);
  if (!before) return tl::unexpected(before.error());
  if (*before) return core::MailFiled{mail.mail, **before};
  auto traced = trace(tx, tokens_of(mail), command.at);
  if (!traced) return tl::unexpected(traced.error());
  const bool ours = traced->correlation != core::Correlation::nothing;
  const MailFate fate = fate_of(mail, ours, tx.writer().rules->foreign);
  if (auto kept = keep(tx, command.at, mail.mail, hash, fate); !kept) return tl::unexpected(kept.error());
  // What is neither to us nor about one of our mails is nobody's business here.
  if (mail.addressed || ours) {
    auto recorded = record(tx, report_of(mail, *std::move(traced)), Cause{command.at, {}});
    if (!recorded) return tl::unexpected(recorded.error());
  }
  return core::MailFiled{mail.mail, fate};
}

Result<core::Answer> record_poison(Transaction& tx, const core::RecordPoison& command) {
  std::optional<MailFate> fate;
  {
    Rows rows = tx.sql(WriterSql::mail_at).select(command.mail.uidvalidity, command.mail.uid);
    const auto found = rows.next();
    if (!found) return tl::unexpected(found.error());
    if (*found) fate = fate_from(rows.integer(2));
  }
  if (fate) return core::MailFiled{command.mail, *fate};
  if (auto kept = keep(tx, command.at, command.mail, std::nullopt, MailFate::unrecognised); !kept)
    return tl::unexpected(kept.error());
  ++tx.counted()[Counters::k_unread_mails];
  return core::MailFiled{command.mail, MailFate::unrecognised};
}

Result<core::Answer> record_moved(Transaction& tx, const core::RecordMoved& command) {
  for (const std::uint32_t uid : command.moved.uids) {
    if (auto moved = tx.sql(WriterSql::mail_moved).run(command.moved.uidvalidity, uid); !moved)
      return tl::unexpected(moved.error());
  }
  const auto now = reading(tx);
  if (!now) return tl::unexpected(now.error());
  if (!*now || (*now)->uidvalidity != command.moved.uidvalidity) return core::MailboxState{};
  return state_of(tx, **now);
}

}  // namespace mailotp::store
