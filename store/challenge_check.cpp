// Checking a code: the attempt is counted before anything is compared.
#include "store/challenge_commands.h"
#include "store/challenge_secrets.h"
#include "store/suppression.h"

namespace mailotp::store {

using core::Answer;
using core::ChallengeEvent;
using core::ChallengeOutcome;
using core::CheckAnswer;
using core::CheckResult;
using core::Errc;
using core::Result;

namespace {

CheckResult result_of(ChallengeOutcome outcome) {
  switch (outcome) {
    case ChallengeOutcome::valid:
      return CheckResult::valid;
    case ChallengeOutcome::binding_mismatch:
      return CheckResult::binding_mismatch;
    case ChallengeOutcome::exhausted:
      return CheckResult::exhausted;
    case ChallengeOutcome::expired:
      return CheckResult::expired;
    case ChallengeOutcome::already_used:
      return CheckResult::already_used;
    case ChallengeOutcome::canceled:
      return CheckResult::canceled;
    case ChallengeOutcome::invalid:
    case ChallengeOutcome::not_sent_yet:
    // These do not answer a guess.
    case ChallengeOutcome::unchanged:
    case ChallengeOutcome::sent:
    case ChallengeOutcome::resent:
    case ChallengeOutcome::counted:
    case ChallengeOutcome::cooldown:
    case ChallengeOutcome::sends_exhausted:
    case ChallengeOutcome::closed:
    case ChallengeOutcome::noted:
      return CheckResult::invalid;
  }
  return CheckResult::invalid;
}

ChallengeEvent event_of(Comparison comparison) {
  switch (comparison) {
    case Comparison::matched:
      return ChallengeEvent::matched;
    case Comparison::differed:
      return ChallengeEvent::differed;
    case Comparison::binding_differed:
      return ChallengeEvent::binding_differed;
  }
  return ChallengeEvent::differed;
}

// After a counted guess: the row says so already. Compares, and gives what the machine makes of it.
Result<core::ChallengeStep> judge(Transaction& tx, const core::CheckCode& command, ChallengeRecord& c,
                                  const core::ChallengeRow& counted) {
  if (auto done = tx.sql(WriterSql::challenge_count_attempt).run(c.n, command.at); !done)
    return tl::unexpected(done.error());
  if (tx.writer().db.changed() != 1)
    return core::fail(Errc::corrupt, "store: an attempt could not be counted");
  c.row = counted;
  const auto comparison = compare(tx.writer(), c, command.typed, command.binding);
  if (!comparison) return tl::unexpected(comparison.error());
  return core::step(c.row, event_of(*comparison), command.at);
}

Result<Answer> check_found(Transaction& tx, const core::CheckCode& command, ChallengeRecord& c) {
  const Cause cause{command.at, command.actor};
  core::ChallengeStep step = core::step(c.row, ChallengeEvent::guess, command.at);
  if (step.outcome == ChallengeOutcome::counted) {
    auto judged = judge(tx, command, c, step.row);
    if (!judged) return tl::unexpected(judged.error());
    step = *std::move(judged);
  } else if (auto done = compare_for_nothing(tx.writer(), command); !done) {
    return tl::unexpected(done.error());
  }
  const CheckResult result = result_of(step.outcome);
  Detail detail;
  detail.add("result", to_string(result)).add("attempts_left", step.row.attempts_left);
  if (auto logged = tx.append(ChallengeNews::checked, c, cause, detail.take()); !logged)
    return tl::unexpected(logged.error());
  if (step.row != c.row) {
    if (auto ended = tx.end(c, step, cause); !ended) return tl::unexpected(ended.error());
  }
  // Who read the code reads that mailbox.
  if (step.outcome == ChallengeOutcome::valid) {
    if (auto noted = note_proof(tx, c.recipient, c.app, cause); !noted) return tl::unexpected(noted.error());
  }
  return CheckAnswer{result, c.row.attempts_left, c.row.state, c.metadata};
}

}  // namespace

Result<Answer> check(Transaction& tx, const core::CheckCode& command) {
  auto found = command.id ? tx.challenge(*command.id)
               : command.recipient
                   ? tx.newest_challenge(command.recipient->key(), command.app, command.purpose)
                   : Result<std::optional<ChallengeRecord>>(core::fail(
                         Errc::invalid, "store: a check names neither a challenge nor a recipient"));
  if (!found) return tl::unexpected(found.error());
  if (command.id && (!*found || (*found)->app != command.app)) {
    core::Refusal refusal;
    refusal.kind = core::RefusalKind::not_found;
    return refusal;
  }
  ++tx.counted()[Counters::k_checks];
  if (*found) return check_found(tx, command, **found);
  if (auto done = compare_for_nothing(tx.writer(), command); !done) return tl::unexpected(done.error());
  return CheckAnswer{};
}

}  // namespace mailotp::store
