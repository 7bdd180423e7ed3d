#include "core/outbox.h"

#include <algorithm>

#include "core/outbox_policy.h"

namespace mailotp::core {

namespace {

MessageStep unchanged(const MessageRow& row, MessageRefusal refusal) {
  return {row, false, refusal, false};
}

MessageRefusal refusal_in(MessageState state) {
  return is_open(state) ? MessageRefusal::not_now : MessageRefusal::closed;
}

// A change that a waiting app should see.
MessageStep shown(MessageRow row) {
  ++row.revision;
  return {std::move(row), true, MessageRefusal::none, false};
}

MessageStep ended(MessageRow row, MessageState to) {
  row.state = to;
  row.due_at = k_never;
  ++row.revision;
  return {std::move(row), true, MessageRefusal::none, true};
}

MessageStep expire(MessageRow row, WallTime now) {
  row.verdict = expiry_verdict(row, now);
  return ended(std::move(row), MessageState::expired);
}

MessageStep queue(MessageRow row) {
  row.state = MessageState::queued;
  row.due_at = row.not_after;
  return {std::move(row), true, MessageRefusal::none, false};
}

// Nothing more is tried and nothing is known: it stays `uncertain`, which is the truth, and its body goes.
MessageStep rest_uncertain(MessageRow row) {
  row.state = MessageState::uncertain;
  row.due_at = k_never;
  ++row.revision;
  return {std::move(row), true, MessageRefusal::none, true};
}

MessageStep defer(MessageRow row, Millis pause, WallTime now) {
  const WallTime next = now + pause;
  if (next > row.not_after - k_last_attempt_margin) {
    // The schedule overshoots. One more try at the last useful moment is worth more than giving up early.
    const WallTime last = row.not_after - k_last_attempt_margin;
    if (now >= last) return expire(std::move(row), now);
    row.due_at = last;
  } else {
    row.due_at = next;
  }
  row.state = MessageState::deferred;
  row.orphaned = 0;
  return shown(std::move(row));
}

// The dot may have reached the relay. One repeat of the same bytes with the same Message-ID; a second
// uncertainty ends it.
MessageStep become_uncertain(MessageRow row, const DeliveryPolicy& policy, WallTime now) {
  ++row.uncertain;
  ++row.attempts;
  row.orphaned = 0;
  if (policy.uncertain == OnUncertain::hold) {
    row.state = MessageState::held;
    row.due_at = row.not_after;
    return shown(std::move(row));
  }
  if (now >= row.not_after) return rest_uncertain(std::move(row));
  row.state = MessageState::uncertain;
  row.due_at = row.uncertain > 1 ? row.not_after : std::min(now + k_uncertain_pause, row.not_after);
  return shown(std::move(row));
}

struct Machine {
  const MessageRow& row;
  const DeliveryPolicy& policy;
  WallTime now;
  RandomSource& jitter;

  [[nodiscard]] bool in_force(const AttemptKey& key) const {
    return row.state == MessageState::sending && key.attempt == row.attempt;
  }
  [[nodiscard]] MessageStep stale() const { return unchanged(row, MessageRefusal::stale); }
  [[nodiscard]] MessageStep not_here() const { return unchanged(row, refusal_in(row.state)); }
  [[nodiscard]] bool waiting() const {
    return row.state == MessageState::queued || row.state == MessageState::deferred ||
           row.state == MessageState::held;
  }

  // What is in the agent's hands cannot be called back for certain; but it gets no further attempt.
  [[nodiscard]] MessageStep no_further_attempt() const {
    MessageRow next = row;
    next.not_after = std::min(row.not_after, now);
    return {next, true, MessageRefusal::none, false};
  }

  MessageStep operator()(const Claim& claim) const {
    if (row.state != MessageState::queued) return not_here();
    if (now >= row.not_after) return expire(row, now);
    MessageRow next = row;
    next.state = MessageState::sending;
    ++next.attempt;
    next.due_at = now;
    next.relay = claim.relay;
    return {next, true, MessageRefusal::none, false};
  }

  MessageStep operator()(const JobDotNext& fact) const {
    return in_force(fact.key) ? unchanged(row, MessageRefusal::none) : stale();
  }

  MessageStep operator()(const JobRelayed& fact) const {
    if (!in_force(fact.key)) return stale();
    MessageRow next = row;
    ++next.attempts;
    next.reply = fact.reply;
    return ended(next, MessageState::relayed);
  }

  MessageStep operator()(const JobRefused& fact) const {
    if (!in_force(fact.key)) return stale();
    MessageRow next = row;
    next.reply = fact.reply;
    const ReplyMeaning meaning = meaning_of(fact.stage, fact.reply);
    if (meaning != ReplyMeaning::session) ++next.attempts;
    switch (meaning) {
      case ReplyMeaning::retry:
      case ReplyMeaning::session:
        return defer(next, retry_pause(policy, next.attempt, jitter), now);
      case ReplyMeaning::greylist:
        return defer(next, greylist_pause(policy, next.attempts, fact.reply), now);
      case ReplyMeaning::fail:
        next.verdict = refusal_verdict(fact.stage, fact.reply, now);
        return ended(next, MessageState::failed);
    }
    return stale();
  }

  MessageStep operator()(const JobNotSent& fact) const {
    if (!in_force(fact.key)) return stale();
    MessageRow next = row;
    if (!is_session_stage(fact.stage)) ++next.attempts;
    next.reply =
        fact.reply ? *fact.reply : Reply{0, "", std::string(to_string(fact.stage)) + ": " + fact.reason};
    return defer(next, retry_pause(policy, next.attempt, jitter), now);
  }

  MessageStep operator()(const JobUncertain& fact) const {
    if (!in_force(fact.key)) return stale();
    MessageRow next = row;
    next.reply = Reply{0, "", "uncertain: " + fact.reason};
    return become_uncertain(next, policy, now);
  }

  MessageStep operator()(const AgentLost& lost) const {
    if (row.state != MessageState::sending) return not_here();
    MessageRow next = row;
    next.reply = Reply{0, "", "the sending process ended"};
    if (lost.dot_possible) return become_uncertain(next, policy, now);
    return defer(next, retry_pause(policy, 1, jitter), now);
  }

  // After a crash of the daemon nothing is known of what the agent did: at once again, unless it comes back
  // start after start (it may be what kills us).
  MessageStep operator()(const Orphaned&) const {
    if (row.state != MessageState::sending) return not_here();
    MessageRow next = row;
    ++next.orphaned;
    next.reply = Reply{0, "", "the daemon ended while it was being sent"};
    if (next.orphaned >= k_poison_starts || policy.uncertain == OnUncertain::hold) {
      next.state = MessageState::held;
      next.due_at = next.not_after;
      return shown(next);
    }
    if (now >= next.not_after) return rest_uncertain(next);
    next.state = MessageState::uncertain;
    next.due_at = now;
    return shown(next);
  }

  MessageStep operator()(const Due&) const {
    const bool late = now >= row.not_after;
    switch (row.state) {
      case MessageState::queued:
        return late ? expire(row, now) : not_here();
      case MessageState::deferred:
        if (late) return expire(row, now);
        return now >= row.due_at ? queue(row) : not_here();
      case MessageState::uncertain:
        if (row.due_at == k_never) return not_here();
        if (late) return rest_uncertain(row);
        return now >= row.due_at && row.uncertain <= 1 ? queue(row) : not_here();
      case MessageState::held:
        return late ? expire(row, now) : not_here();
      case MessageState::sending:
      case MessageState::relayed:
      case MessageState::delivered:
      case MessageState::bounced:
      case MessageState::failed:
      case MessageState::expired:
      case MessageState::superseded:
      case MessageState::canceled:
      case MessageState::suppressed:
        return not_here();
    }
    return not_here();
  }

  MessageStep operator()(const Supersede&) const {
    if (waiting()) return ended(row, MessageState::superseded);
    if (row.state == MessageState::uncertain) return rest_uncertain(row);
    if (row.state == MessageState::sending) return no_further_attempt();
    return not_here();
  }

  MessageStep operator()(const EndWithChallenge& end) const {
    if (waiting()) return end.expired ? expire(row, now) : ended(row, MessageState::canceled);
    if (row.state == MessageState::uncertain) return rest_uncertain(row);
    if (row.state == MessageState::sending) return no_further_attempt();
    return not_here();
  }

  MessageStep operator()(const Hold&) const {
    if (row.state != MessageState::queued && row.state != MessageState::deferred &&
        row.state != MessageState::uncertain)
      return not_here();
    MessageRow next = row;
    next.state = MessageState::held;
    next.due_at = row.not_after;
    return shown(next);
  }

  MessageStep operator()(const Release&) const {
    if (row.state != MessageState::held) return not_here();
    return now >= row.not_after ? expire(row, now) : released();
  }

  MessageStep operator()(const Retry&) const {
    if (row.state != MessageState::deferred && row.state != MessageState::uncertain &&
        row.state != MessageState::held)
      return not_here();
    if (row.due_at == k_never) return unchanged(row, MessageRefusal::closed);  // its body is gone
    return now >= row.not_after ? expire(row, now) : released();
  }

  MessageStep operator()(const Cancel&) const { return (*this)(EndWithChallenge{.expired = false}); }

  MessageStep operator()(const SuccessDsn&) const {
    if (row.state != MessageState::relayed && row.state != MessageState::uncertain) return not_here();
    return ended(row, MessageState::delivered);
  }

  MessageStep operator()(const FailureDsn& dsn) const {
    if (row.state != MessageState::relayed && row.state != MessageState::uncertain) return not_here();
    MessageRow next = row;
    next.verdict = dsn.verdict;
    return ended(next, MessageState::bounced);
  }

  MessageStep operator()(const DelayDsn& dsn) const {
    if (row.state != MessageState::relayed) return not_here();
    MessageRow next = row;
    next.verdict = dsn.verdict;
    return shown(next);
  }

 private:
  [[nodiscard]] MessageStep released() const {
    MessageRow next = row;
    next.orphaned = 0;
    next.uncertain = 0;
    MessageStep out = queue(next);
    ++out.row.revision;
    return out;
  }
};

}  // namespace

MessageStep step(const MessageRow& row, const MessageEvent& event, const DeliveryPolicy& policy, WallTime now,
                 RandomSource& jitter) {
  return std::visit(Machine{row, policy, now, jitter}, event);
}

}  // namespace mailotp::core
