// Checking a code: the attempt is counted before anything is compared.
#include "store/brake.h"
#include "store/challenge_commands.h"
#include "store/challenge_secrets.h"
#include "store/limits.h"
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

// Whose guess it is. By its id a challenge is checked by who asked for it, unless the app says otherwise; the
// short form knows nobody that the app does not name.
Result<FailureBudget> budget_of(Transaction& tx, const core::CheckCode& command,
                                const core::Address& recipient, const std::string& purpose,
                                const std::string& own_device) {
  std::string device = command.id ? own_device : std::string();
  if (!command.client_id.empty()) {
    auto keys = budget_keys(tx, command.app, purpose, recipient, {{}, command.client_id});
    if (!keys) return tl::unexpected(keys.error());
    device = std::move(keys->device);
  }
  return failure_budget(tx, command.app, purpose, recipient, device, command.at);
}

// What is learned from a guess that was compared.
Result<> note_guess(Transaction& tx, const ChallengeRecord& c, ChallengeOutcome outcome,
                    const FailureBudget& budget, const Cause& cause) {
  if (outcome == ChallengeOutcome::invalid || outcome == ChallengeOutcome::binding_mismatch)
    return count_failure(tx, c.app, budget, cause.at);
  if (outcome != ChallengeOutcome::valid) return {};
  if (auto known = remember_device(tx, budget.device, cause.at); !known) return known;
  if (auto counted = count_right_code(tx, c.app, cause.at); !counted) return counted;
  // Who read the code reads that mailbox.
  return note_proof(tx, c.recipient, c.app, cause);
}

// A guess that may not be made: as much work as one that may.
Result<Answer> refuse_guess(Transaction& tx, const core::CheckCode& command, core::Refusal refusal) {
  if (auto done = compare_for_nothing(tx.writer(), command); !done) return tl::unexpected(done.error());
  return refusal;
}

Result<Answer> check_found(Transaction& tx, const core::CheckCode& command, ChallengeRecord& c) {
  const Cause cause{command.at, command.actor};
  core::ChallengeStep step = core::step(c.row, ChallengeEvent::guess, command.at);
  const auto budget = budget_of(tx, command, address_of(c.mailbox), c.purpose, c.budget.device);
  if (!budget) return tl::unexpected(budget.error());
  if (step.outcome == ChallengeOutcome::counted) {
    auto refused = refuse_check(tx, c.app, *budget, command.at);
    if (!refused) return tl::unexpected(refused.error());
    if (*refused) return refuse_guess(tx, command, **std::move(refused));
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
  if (auto noted = note_guess(tx, c, step.outcome, *budget, cause); !noted)
    return tl::unexpected(noted.error());
  return CheckAnswer{result, c.row.attempts_left, c.row.state, c.metadata};
}

}  // namespace

Result<Answer> check(Transaction& tx, const core::CheckCode& command) {
  auto found = command.id ? tx.challenge(*command.id)
               : command.recipient
                   ? tx.newest_challenge(*command.recipient, command.app, command.purpose)
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
  const auto budget = budget_of(tx, command, *command.recipient, command.purpose, {});
  if (!budget) return tl::unexpected(budget.error());
  auto refused = refuse_check(tx, command.app, *budget, command.at);
  if (!refused) return tl::unexpected(refused.error());
  if (*refused) return refuse_guess(tx, command, **std::move(refused));
  if (auto done = compare_for_nothing(tx.writer(), command); !done) return tl::unexpected(done.error());
  return CheckAnswer{};
}

}  // namespace mailotp::store
