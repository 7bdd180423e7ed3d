#include "daemon/app/delivery.h"

#include <utility>

#include <fmt/format.h>

#include "core/crash_point.h"
#include "daemon/state/clock.h"

namespace mailotp::daemon {

namespace {

// For the jobs of an agent that is to be replaced, before those that have not come to the dot are cut.
constexpr core::Millis k_settle_patience{1000};

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

}  // namespace

Delivery::Delivery(const InForce& in_force, Health& health, Tally& tally, core::Log& log,
                   std::function<void()> fatal)
    : in_force_(in_force), health_(health), tally_(tally), log_(log), fatal_(std::move(fatal)) {}

void Delivery::connect(StoreThread& store, AgentSupervisor& agent, RelayBoard& board, Waits& waits,
                       EventStreams& events, RelayTests& tests, BounceLog& bounces) {
  store_ = &store;
  agent_ = &agent;
  board_ = &board;
  waits_ = &waits;
  events_ = &events;
  tests_ = &tests;
  bounces_ = &bounces;
}

void Delivery::stop_claiming() {
  claiming_ = false;
  store_->revoke();
  board_->stop();
}

// Short of that the pause in which nothing is sent would be as long as the slowest relay's answer.
void Delivery::renew_agent(core::Millis dot_timeout) {
  renewing_ = renewing_ || agent_->ready();  // it may end already, for the reload before
  store_->revoke();
  agent_->renew(k_settle_patience, dot_timeout + k_settle_patience);
}

void Delivery::on_ready(const core::AgentReady& ready) {
  renewing_ = false;
  if (ready.confinement != core::Confinement::full)
    log_.write(core::LogLevel::warning,
               "event=agent_unconfined agent=smtp reason=\"the kernel has no Landlock\"");
  health_.agent_is("smtp", condition_of(ready));
  board_->agent_is(core::RelayCondition::up);
  store_->revoke();  // what an agent before it was granted
  if (!claiming_) return;
  windows_.clear();
  for (const core::RelayConfig& relay : in_force_->config.relays) {
    const auto window = windows_.emplace(relay.name, RelayWindow(relay.max_connections)).first;
    store_->grant(relay.name, window->second.places());
  }
}

int Delivery::places_after(const Out& out, AttemptEnd end) {
  const auto window = windows_.find(out.relay);
  return window == windows_.end()
             ? 0
             : window->second.ended(end == AttemptEnd::relayed, out.since, std::chrono::steady_clock::now());
}

// `reply_code` 0: there was none.
void Delivery::settle(const core::AttemptKey& key, AttemptEnd end, int reply_code, core::Fact fact) {
  const auto known = out_.extract(key.message);
  const int places = known.empty() ? 0 : places_after(known.mapped(), end);
  std::string relay = known.empty() ? std::string() : std::move(known.mapped().relay);
  tally_.attempt(relay, end, reply_code);
  const bool answered = end == AttemptEnd::relayed || end == AttemptEnd::refused;
  if (answered && !renewing_) board_->on_answer(relay);  // else it may be of a server of before
  if (places == 0 || !claiming_ || renewing_) relay.clear();
  store_->settle(core::SettleFact{wall_now(), std::move(fact)}, std::move(relay));
}

void Delivery::on_fact(core::Fact fact) {
  std::visit(Overloaded{
                 [](const core::JobDotNext&) {},  // remembered by the supervisor, in case the agent dies
                 [&](core::JobRelayed& ended) {
                   const core::AttemptKey key = ended.key;
                   const int code = ended.reply.code;
                   MAILOTP_CRASH_POINT("relayed_heard");
                   settle(key, AttemptEnd::relayed, code, std::move(ended));
                 },
                 [&](core::JobRefused& ended) {
                   const core::AttemptKey key = ended.key;
                   const int code = ended.reply.code;
                   settle(key, AttemptEnd::refused, code, std::move(ended));
                 },
                 [&](core::JobNotSent& ended) {
                   const core::AttemptKey key = ended.key;
                   const int code = ended.reply ? ended.reply->code : 0;
                   settle(key, AttemptEnd::not_sent, code, std::move(ended));
                 },
                 [&](core::JobUncertain& ended) {
                   const core::AttemptKey key = ended.key;
                   settle(key, AttemptEnd::uncertain, 0, std::move(ended));
                 },
                 [&](const core::RelayFact& relay) {
                   if (!renewing_) board_->on_fact(relay);
                 },
                 [](const core::AgentReady&) {},  // on_ready(); log lines are the supervisor's too
                 [](const core::AgentLog&) {},
                 [&](const core::TestStep& step) {
                   if (!board_->on_step(step)) tests_->on_step(step);
                 },
                 [&](const core::TestDone& done) {
                   if (!board_->on_test_done(done)) tests_->on_done(done);
                 },
             },
             fact);
}

void Delivery::on_lost(std::vector<LostJob> lost) {
  const core::WallTime now = wall_now();
  health_.agent_is("smtp", AgentCondition::down);
  if (renewing_)
    board_->agent_renews();
  else
    board_->agent_is(core::RelayCondition::down);
  store_->revoke();
  for (const LostJob& job : lost) {
    if (const auto known = out_.find(job.key.message); known != out_.end())
      tally_.attempt(known->second.relay, AttemptEnd::lost, 0);
    store_->settle(core::SettleLost{now, job.key, job.dot_possible});
  }
  out_.clear();
  windows_.clear();
}

void Delivery::on_commit(const core::Committed& committed, const StoreThread::CommitCost& cost) {
  tally_.commit(committed, cost.commands, cost.took);
  if (!committed.more_queued || !claiming_ || renewing_) return;
  std::string_view last;
  for (const core::Job& job : committed.jobs) {
    if (std::exchange(last, job.relay) == job.relay) continue;
    const auto window = windows_.find(job.relay);
    const int places = window == windows_.end() ? 0 : window->second.claimed_with_more_waiting();
    if (places > 0) store_->grant(job.relay, places);
  }
}

void Delivery::on_changes(const std::vector<core::Change>& changes) {
  waits_->on_changes(changes);
}

void Delivery::on_events() {
  events_->on_events();
}

void Delivery::on_brakes(const std::vector<core::BrakeNews>& brakes) {
  for (const core::BrakeNews& news : brakes) {
    health_.brake_is(news.app, news.on);
    const std::string count =
        fmt::format("app={} sends={} right_codes={}", news.app, news.count.sends, news.count.right_codes);
    if (news.on)
      log_.write(core::LogLevel::warning,
                 fmt::format("event=brake_on {} until={} reason=\"mails with codes rise, right codes do not: "
                             "only known devices get more\"",
                             count, core::format_rfc3339(news.until)));
    else
      log_.write(core::LogLevel::notice, fmt::format("event=brake_off {}", count));
  }
}

void Delivery::on_bounces(const std::vector<core::BounceNews>& bounces) {
  bounces_->write(bounces);
}

// One that finds no agent, because it went while the commit was under way, comes back through on_lost().
void Delivery::on_jobs(std::vector<core::Job> jobs) {
  const auto now = std::chrono::steady_clock::now();
  for (core::Job& job : jobs) {
    if (const auto window = windows_.find(job.relay); window != windows_.end()) window->second.handed_out();
    out_.insert_or_assign(job.key.message, Out{job.relay, now});
    agent_->submit(std::move(job));
  }
  agent_->flush();
}

void Delivery::on_store_health(const core::Result<>& health) {
  health_.store_is(health);
  if (health) {
    log_.write(core::LogLevel::notice, "event=store_ok");
  } else {
    log_.write(core::LogLevel::error, fmt::format("event=store_failed what=\"{}\"", health.error().what));
    // After a failed write or sync the page cache may show what the disk does not have: nothing can be
    // promised any more, and the next start must look at the disk.
    if (health.error().code == core::Errc::io) fatal_();
  }
}

}  // namespace mailotp::daemon
