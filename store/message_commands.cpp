#include "store/message_commands.h"

#include <algorithm>

namespace mailotp::store {

using core::Result;

namespace {

constexpr int k_expired_a_claim = 200;

// Loads everything before anything is changed: an UPDATE would move rows in the index that is being read.
Result<std::vector<MessageRecord>> all_messages(Rows rows) {
  std::vector<MessageRecord> out;
  for (;;) {
    const auto more = rows.next();
    if (!more) return tl::unexpected(more.error());
    if (!*more) return out;
    auto record = read_message(rows);
    if (!record) return tl::unexpected(record.error());
    out.push_back(*std::move(record));
  }
}

// The row as it is now: what an earlier one of the same list led to (the end of a common challenge) may have
// changed it.
Result<MessageRecord> again(Transaction& tx, const MessageRecord& m) {
  auto found = tx.message(m.n);
  if (!found) return tl::unexpected(found.error());
  if (!*found)
    return core::fail(core::Errc::corrupt, "store: a message is gone in the middle of a transaction");
  return **std::move(found);
}

Detail about(const core::AttemptKey& key, const MessageRecord& m) {
  Detail detail;
  detail.add("attempt", static_cast<std::int64_t>(key.attempt)).add("relay", m.row.relay);
  return detail;
}

Result<> settle_one(Transaction& tx, const core::AttemptKey& key, const core::MessageEvent& event,
                    core::WallTime at, auto&& describe) {
  auto found = tx.message(key.message);
  if (!found) return tl::unexpected(found.error());
  if (!*found) return {};
  MessageRecord& m = **found;
  Detail detail = about(key, m);
  describe(detail);
  const auto stepped = tx.step(m, event, Cause{at, {}}, detail.take());
  if (!stepped) return tl::unexpected(stepped.error());
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

core::Job job_of(const MessageRecord& m, core::Secret content, const std::string& return_path,
                 core::WallTime now) {
  core::Job job;
  job.key = {m.id, m.row.attempt};
  job.relay = m.row.relay;
  job.return_path = return_path;
  job.recipient = m.mailbox;
  job.envid = core::to_string(m.id);
  job.time_left = m.row.not_after - now;
  job.content = std::move(content);
  return job;
}

// One queued message: a job, or nothing when its time is over or its body does not open.
Result<std::optional<core::Job>> claim_one(Transaction& tx, MessageRecord& m, const std::string& relay,
                                           core::WallTime now) {
  const Cause cause{now, {}};
  auto content = tx.content(m);
  if (!content) {
    const core::Errc why = content.error().code;
    if (why != core::Errc::corrupt && why != core::Errc::not_found) return tl::unexpected(content.error());
    Detail detail;
    detail.add("reason", "its body cannot be opened");
    const auto held = tx.step(m, core::Hold{}, cause, detail.take());
    if (!held) return tl::unexpected(held.error());
    return std::optional<core::Job>{};
  }
  const auto stepped = tx.step(m, core::Claim{relay}, cause);
  if (!stepped) return tl::unexpected(stepped.error());
  if (m.row.state != core::MessageState::sending) return std::optional<core::Job>{};
  return std::optional(job_of(m, *std::move(content), tx.writer().return_path, now));
}

}  // namespace

Result<> settle(Transaction& tx, const core::SettleFact& command) {
  return std::visit(Settler{tx, command.at}, command.fact);
}

Result<> settle(Transaction& tx, const core::SettleLost& command) {
  auto found = tx.message(command.key.message);
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

Result<> sweep_messages(Transaction& tx, const Cause& cause, int limit) {
  using core::MessageState;
  for (const MessageState state :
       {MessageState::deferred, MessageState::uncertain, MessageState::queued, MessageState::held}) {
    if (limit <= 0) return {};
    auto due = all_messages(tx.sql(WriterSql::message_due).select(static_cast<int>(state), cause.at, limit));
    if (!due) return tl::unexpected(due.error());
    limit -= static_cast<int>(due->size());
    for (const MessageRecord& listed : *due) {
      auto m = again(tx, listed);
      if (!m) return tl::unexpected(m.error());
      if (auto stepped = tx.step(*m, core::Due{}, cause); !stepped) return tl::unexpected(stepped.error());
    }
  }
  return {};
}

Result<std::vector<core::Job>> claim(Transaction& tx, const core::ClaimBudget& budget, core::WallTime now) {
  std::vector<core::Job> jobs;
  int unusable = 0;
  while (std::cmp_less(jobs.size(), budget.jobs) && unusable < k_expired_a_claim) {
    const int wanted = budget.jobs - static_cast<int>(jobs.size());
    auto queued = all_messages(tx.sql(WriterSql::message_claimable).select(wanted));
    if (!queued) return tl::unexpected(queued.error());
    for (MessageRecord& m : *queued) {
      auto job = claim_one(tx, m, budget.relay, now);
      if (!job) return tl::unexpected(job.error());
      if (!*job) {
        // Its end may have ended others of the list as well: read anew.
        ++unusable;
        break;
      }
      jobs.push_back(**std::move(job));
    }
    if (queued->empty()) break;
  }
  return jobs;
}

Result<core::Recovered> settle_orphans(Transaction& tx, core::WallTime now) {
  core::Recovered out;
  auto orphans = all_messages(tx.sql(WriterSql::message_sending).select());
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
