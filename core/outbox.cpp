#include "core/outbox.h"

#include <algorithm>

#include "core/outbox_policy.h"

namespace mailotp::core {

namespace {

MessageStep unchanged(const MessageRow& row, MessageRefusal refusal) {
  return {row, false, refusal, false};
}

// A change that a waiting app should see.
MessageStep shown(MessageRow row) {
  ++row.revision;
  return {std::move(row), true, MessageRefusal::none, false};
}

MessageStep ended(MessageRow row, MessageState to) {
  const bool had_content = !is_over(row);
  row.state = to;
  row.due_at = k_never;
  row.tried.clear();
  row.ends_as.reset();
  ++row.revision;
  return {std::move(row), true, MessageRefusal::none, had_content};
}

MessageStep queue(MessageRow row) {
  row.state = MessageState::queued;
  row.due_at = row.not_after;
  return {std::move(row), true, MessageRefusal::none, false};
}

// Nothing more is tried and nothing is known: it stays `uncertain`, which is the truth, and its body goes.
MessageStep rest_uncertain(MessageRow row) {
  return ended(std::move(row), MessageState::uncertain);
}

bool a_copy_may_have_left(const MessageRow& row) {
  return row.state == MessageState::uncertain || row.uncertain > 0;
}

// Ends a message that is in nobody's hands. Where an earlier copy may have left, that it "ended without
// sending" would be a lie, and a bounce of that copy would find the message closed.
MessageStep end_unsent(MessageRow row, MessageState to) {
  if (a_copy_may_have_left(row)) return rest_uncertain(std::move(row));
  return ended(std::move(row), to);
}

MessageStep expire(MessageRow row, WallTime now) {
  if (!a_copy_may_have_left(row)) row.verdict = expiry_verdict(row, now);
  return end_unsent(std::move(row), MessageState::expired);
}

// It comes back unsent, and what happened meanwhile forbids another attempt.
MessageStep end_as_asked(MessageRow row, WallTime now) {
  const MessageState to = *std::exchange(row.ends_as, std::nullopt);
  if (to == MessageState::expired) return expire(std::move(row), now);
  if (to == MessageState::suppressed && !a_copy_may_have_left(row)) row.verdict = suppressed_verdict(now);
  return end_unsent(std::move(row), to);
}

// It waits, and then every relay may be asked again.
MessageStep defer(MessageRow row, Millis pause, WaitsFor waits_for, WallTime now) {
  if (row.ends_as) return end_as_asked(std::move(row), now);
  const WallTime next = now + pause;
  if (next > row.not_after - k_last_plan_margin) {
    // The schedule overshoots. One more try at the last useful moment is worth more than giving up early.
    const WallTime last = row.not_after - k_last_plan_margin;
    if (now >= last) return expire(std::move(row), now);
    row.due_at = last;
  } else {
    row.due_at = next;
  }
  row.state = MessageState::deferred;
  row.waits_for = waits_for;
  row.tried.clear();
  return shown(std::move(row));
}

// Another attempt at once.
MessageStep try_again_now(MessageRow row, WallTime now) {
  if (row.ends_as) return end_as_asked(std::move(row), now);
  if (now >= row.not_after - k_last_attempt_margin) return expire(std::move(row), now);
  MessageStep out = queue(std::move(row));
  ++out.row.revision;
  return out;
}

MessageStep hold(MessageRow row) {
  row.state = MessageState::held;
  row.due_at = row.not_after;
  row.tried.clear();
  return shown(std::move(row));
}

// A repeat is planned no later than any other attempt; where that moment has passed, none is.
MessageStep uncertain_until(MessageRow row, WallTime repeat_at, WallTime now) {
  const WallTime last = row.not_after - k_last_plan_margin;
  row.state = MessageState::uncertain;
  row.tried.clear();
  row.due_at = now < last ? std::min(repeat_at, last) : row.not_after;
  return shown(std::move(row));
}

// A second uncertainty: only the operator can ask for another attempt, until not_after.
MessageStep stay_uncertain(MessageRow row) {
  row.state = MessageState::uncertain;
  row.due_at = row.not_after;
  row.tried.clear();
  return shown(std::move(row));
}

bool holds_uncertain(const MessageRow& row, const DeliveryPolicy& policy) {
  return policy.uncertain == OnUncertain::hold || row.on_uncertain == OnUncertain::hold;
}

// The dot may have reached the relay. One repeat of the same bytes with the same Message-ID; after a second
// uncertainty only the operator can ask for another, until not_after.
MessageStep become_uncertain(MessageRow row, const DeliveryPolicy& policy, WallTime now) {
  ++row.uncertain;
  ++row.attempts;
  if (row.ends_as || now >= row.not_after) return rest_uncertain(std::move(row));
  if (row.orphaned >= k_poison_deaths || holds_uncertain(row, policy)) return hold(std::move(row));
  if (row.uncertain > 1) return stay_uncertain(std::move(row));
  return uncertain_until(std::move(row), now + policy.uncertain_pause, now);
}

struct Machine {
  const MessageRow& row;
  const DeliveryPolicy& policy;
  WallTime now;
  RandomSource& jitter;
  OtherRelay other;

  [[nodiscard]] bool in_force(const AttemptKey& key) const {
    return row.state == MessageState::sending && key.attempt == row.attempt;
  }
  [[nodiscard]] MessageStep stale() const { return unchanged(row, MessageRefusal::stale); }
  [[nodiscard]] MessageStep not_here() const {
    return unchanged(row, is_over(row) ? MessageRefusal::closed : MessageRefusal::not_now);
  }
  // In nobody's hands, and its body is there.
  [[nodiscard]] bool waiting() const { return !is_over(row) && row.state != MessageState::sending; }
  // A copy of it has left, or may have: a DSN can be about it. While it is being sent the DSN may be ahead of
  // the fact.
  [[nodiscard]] bool may_have_left() const {
    return row.state == MessageState::relayed || row.state == MessageState::sending ||
           row.state == MessageState::uncertain || (waiting() && row.uncertain > 0);
  }

  // What is in the agent's hands cannot be called back for certain; but it gets no further attempt.
  [[nodiscard]] MessageStep no_further_attempt(MessageState ends_as) const {
    if (row.ends_as) return unchanged(row, MessageRefusal::none);
    MessageRow next = row;
    next.ends_as = ends_as;
    return {next, true, MessageRefusal::none, false};
  }

  MessageStep operator()(const Claim& claim) const {
    if (row.state != MessageState::queued) return not_here();
    const Millis margin = row.attempt == 0 ? Millis{0} : k_last_attempt_margin;
    if (now >= row.not_after - margin) return expire(row, now);
    MessageRow next = row;
    next.state = MessageState::sending;
    ++next.attempt;
    next.due_at = now;
    next.relay = claim.relay;
    next.waits_for = WaitsFor::its_time;
    return {next, true, MessageRefusal::none, false};
  }

  MessageStep operator()(const JobDotNext& fact) const {
    return in_force(fact.key) ? unchanged(row, MessageRefusal::none) : stale();
  }

  MessageStep operator()(const JobRelayed& fact) const {
    if (!in_force(fact.key)) return stale();
    MessageRow next = answered();
    ++next.attempts;
    next.reply = fact.reply;
    next.verdict.reset();
    next.refused_by.clear();
    return ended(next, MessageState::relayed);
  }

  MessageStep operator()(const JobRefused& fact) const {
    if (!in_force(fact.key)) return stale();
    MessageRow next = answered();
    next.reply = fact.reply;
    // The dot was sent, and this is neither a yes nor a no to it: the relay may have the mail.
    if (fact.stage == Stage::dot && !is_refusal(fact.reply)) return become_uncertain(next, policy, now);
    switch (meaning_of(fact.stage, fact.reply)) {
      case ReplyMeaning::session:
        return relay_failed(next);
      case ReplyMeaning::retry:
        ++next.attempts;
        return defer(next, message_pause(next.attempts), WaitsFor::its_time, now);
      case ReplyMeaning::greylist: {
        ++next.attempts;
        const Millis pause = greylist_pause(policy, next.attempts, fact.reply);
        if (now + pause > row.not_after - k_last_plan_margin)
          next.verdict = greylisted_verdict(fact.reply, now);
        return defer(next, pause, WaitsFor::greylist, now);
      }
      case ReplyMeaning::next_relay:
        ++next.attempts;
        next.verdict = refusal_verdict(fact.stage, fact.reply, now);
        if (other == OtherRelay::none || !row.refused_by.empty() || row.ends_as)
          return ended(next, MessageState::failed);
        next.refused_by = row.relay;
        return try_again_now(next, now);
      case ReplyMeaning::fail:
        ++next.attempts;
        next.verdict = refusal_verdict(fact.stage, fact.reply, now);
        return ended(next, MessageState::failed);
    }
    return stale();
  }

  MessageStep operator()(const JobNotSent& fact) const {
    if (!in_force(fact.key)) return stale();
    MessageRow next = answered();
    next.reply =
        fact.reply ? *fact.reply : Reply{0, "", std::string(to_string(fact.stage)) + ": " + fact.reason};
    // Our own trouble (descriptors, memory): neither the relay nor the message is to blame.
    if (fact.stage == Stage::local) return defer(next, session_pause(), WaitsFor::its_time, now);
    if (is_session_stage(fact.stage) ||
        (fact.reply && meaning_of(fact.stage, *fact.reply) == ReplyMeaning::session))
      return relay_failed(next);
    // The connection was lost in the middle of this message. Once that is bad luck; if it is the message that
    // brings it about, the schedule paces it.
    if (++next.attempts == 1) return try_again_now(next, now);
    return defer(next, message_pause(next.attempts - 1), WaitsFor::its_time, now);
  }

  MessageStep operator()(const JobUncertain& fact) const {
    if (!in_force(fact.key)) return stale();
    MessageRow next = answered();
    next.reply = Reply{0, "", "uncertain: " + fact.reason};
    return become_uncertain(next, policy, now);
  }

  // The first time at once. One that is in the agent's hands at every death may be what kills it.
  MessageStep operator()(const AgentLost& lost) const {
    if (row.state != MessageState::sending) return not_here();
    MessageRow next = row;
    next.reply = Reply{0, "", "the sending process ended"};
    ++next.orphaned;
    if (lost.dot_possible) return become_uncertain(next, policy, now);
    if (next.orphaned >= k_poison_deaths && !next.ends_as) return hold(next);
    if (next.orphaned == 1) return try_again_now(next, now);
    return defer(next, session_pause(), WaitsFor::its_time, now);
  }

  // After a crash of the daemon nothing is known of what the agent did: at once again, unless it comes back
  // start after start (it may be what kills us).
  MessageStep operator()(const Orphaned&) const {
    if (row.state != MessageState::sending) return not_here();
    MessageRow next = row;
    ++next.orphaned;
    ++next.uncertain;
    next.reply = Reply{0, "", "the daemon ended while it was being sent"};
    if (next.ends_as || now >= next.not_after) return rest_uncertain(next);
    if (next.orphaned >= k_poison_deaths || holds_uncertain(next, policy)) return hold(next);
    // More often uncertain than in hand at a death: a copy may have left before that as well.
    if (next.uncertain > next.orphaned) return stay_uncertain(next);
    return uncertain_until(next, now, now);
  }

  MessageStep operator()(const NoRelay&) const {
    if (row.state != MessageState::queued) return not_here();
    MessageRow next = row;
    if (!next.refused_by.empty()) return ended(next, MessageState::failed);
    return defer(next, session_pause(), WaitsFor::relay, now);
  }

  MessageStep operator()(const RelayBack&) const {
    if (row.state != MessageState::deferred || row.waits_for != WaitsFor::relay) return not_here();
    return now >= row.not_after ? expire(row, now) : queue(row);
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
        if (is_over(row)) return not_here();
        if (late) return rest_uncertain(row);
        return now >= row.due_at ? queue(row) : not_here();
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
    if (waiting()) return end_unsent(row, MessageState::superseded);
    if (row.state == MessageState::sending) return no_further_attempt(MessageState::superseded);
    return not_here();
  }

  MessageStep operator()(const EndWithChallenge& end) const {
    if (waiting()) return end.expired ? expire(row, now) : end_unsent(row, MessageState::canceled);
    if (row.state == MessageState::sending)
      return no_further_attempt(end.expired ? MessageState::expired : MessageState::canceled);
    return not_here();
  }

  MessageStep operator()(const Hold&) const {
    if (!waiting() || row.state == MessageState::held) return not_here();
    return hold(row);
  }

  MessageStep operator()(const Release&) const {
    if (row.state != MessageState::held) return not_here();
    return now >= row.not_after ? expire(row, now) : released();
  }

  MessageStep operator()(const Retry&) const {
    if (!waiting() || row.state == MessageState::queued) return not_here();
    return now >= row.not_after ? expire(row, now) : released();
  }

  MessageStep operator()(const Cancel&) const { return (*this)(EndWithChallenge{.expired = false}); }

  MessageStep operator()(const Suppress& found) const {
    if (row.state == MessageState::sending) return no_further_attempt(MessageState::suppressed);
    if (!waiting()) return not_here();
    MessageRow next = row;
    if (!a_copy_may_have_left(row)) next.verdict = found.verdict;
    return end_unsent(next, MessageState::suppressed);
  }

  MessageStep operator()(const SuccessDsn&) const {
    if (!may_have_left()) return not_here();
    MessageRow next = row;
    next.verdict.reset();
    return ended(next, MessageState::delivered);
  }

  // "Delivered" may be the word of a gateway that hands on: a failure behind it counts.
  MessageStep operator()(const FailureDsn& dsn) const {
    if (!may_have_left() && row.state != MessageState::delivered) return not_here();
    MessageRow next = row;
    next.verdict = dsn.verdict;
    return ended(next, MessageState::bounced);
  }

  // Who says that it is late has it.
  MessageStep operator()(const DelayDsn& dsn) const {
    if (!may_have_left()) return not_here();
    MessageRow next = row;
    next.verdict = dsn.verdict;
    return ended(next, MessageState::relayed);
  }

 private:
  // Some process lived long enough to tell what became of it.
  [[nodiscard]] MessageRow answered() const {
    MessageRow next = row;
    next.orphaned = 0;
    return next;
  }
  // A session's fault says nothing about the message: the next relay at once. Where a refusal had already
  // used up its other chance, that refusal stands.
  [[nodiscard]] MessageStep relay_failed(MessageRow next) const {
    if (other == OtherRelay::usable) {
      next.tried.push_back(row.relay);
      return try_again_now(std::move(next), now);
    }
    if (!next.refused_by.empty()) return ended(std::move(next), MessageState::failed);
    // 421 asks to come later: that the relay can be reached is no news.
    const bool asked_to_wait = next.reply && next.reply->code == 421;
    return defer(std::move(next), session_pause(), asked_to_wait ? WaitsFor::its_time : WaitsFor::relay, now);
  }
  // After a refusal of the message only charged tries lengthen the pause. After a fault of the session every
  // claim does: in an outage the whole queue would otherwise be claimed each second, and so would a message
  // that kills its agent.
  [[nodiscard]] Millis message_pause(std::uint32_t tries) const {
    return retry_pause(policy, row.kind, tries, jitter);
  }
  [[nodiscard]] Millis session_pause() const { return retry_pause(policy, row.kind, row.attempt, jitter); }
  [[nodiscard]] MessageStep released() const {
    MessageRow next = answered();
    next.tried.clear();
    MessageStep out = queue(std::move(next));
    ++out.row.revision;
    return out;
  }
};

}  // namespace

MessageStep step(const MessageRow& row, const MessageEvent& event, const DeliveryPolicy& policy, WallTime now,
                 RandomSource& jitter, OtherRelay other) {
  return std::visit(Machine{row, policy, now, jitter, other}, event);
}

}  // namespace mailotp::core
