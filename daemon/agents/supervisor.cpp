#include "daemon/agents/supervisor.h"

#include <algorithm>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "core/check.h"
#include "mail/channel/codec.h"

namespace mailotp::daemon {
namespace {

constexpr core::Millis k_lock_again{20};
constexpr core::Millis k_drain_slack{1000};  // beyond the grace, for an agent to end by itself
constexpr int k_test_steps = 32;
constexpr int k_log_lines_a_beat = 50;

template <class... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <class... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

std::uint64_t count_of(core::Millis time) {
  return static_cast<std::uint64_t>(time.count());
}

}  // namespace

AgentSupervisor::AgentSupervisor(uv_loop_t* loop, AgentOptions options,
                                 std::function<core::Hello()> make_hello, AgentListener& listener,
                                 core::Log& log)
    : loop_(loop),
      options_(std::move(options)),
      make_hello_(std::move(make_hello)),
      listener_(listener),
      log_(log),
      lock_(options_.lock_path),
      backoff_(options_.backoff_first) {}

AgentSupervisor::~AgentSupervisor() {
  CHECK(state_ == State::stopped);
}

void AgentSupervisor::log(core::LogLevel level, std::string_view event, std::string_view rest) {
  log_.write(level,
             fmt::format("event={} agent={}{}{}", event, options_.name, rest.empty() ? "" : " ", rest));
}

// ---- The agent's life

void AgentSupervisor::start() {
  CHECK(state_ == State::stopped);
  timer_.emplace(loop_, [this] { on_timer(); });
  beat_.emplace(loop_, [this] { on_beat(); });
  backoff_ = options_.backoff_first;
  wait_for_lock();
}

void AgentSupervisor::on_timer() {
  switch (state_) {
    case State::waiting_for_lock:
      try_lock();
      break;
    case State::starting:
      end_agent("it did not answer the hello");
      break;
    case State::draining:
      end_agent("it did not end in time");
      break;
    case State::resting:
      wait_for_lock();
      break;
    case State::dying:
      if (!process_) finish();
      break;
    case State::stopped:
    case State::ready:
      break;
  }
}

void AgentSupervisor::wait_for_lock() {
  state_ = State::waiting_for_lock;
  lock_asked_at_ = uv_now(loop_);
  old_agent_killed_ = false;
  try_lock();
}

void AgentSupervisor::try_lock() {
  const core::Result<bool> taken = lock_.try_take();
  if (!taken) {
    log(core::LogLevel::error, "agent_lock_failed", fmt::format("error=\"{}\"", taken.error().what));
    rest();
    return;
  }
  if (*taken) {
    start_agent();
    return;
  }
  const std::uint64_t waited = uv_now(loop_) - lock_asked_at_;
  if (waited >= count_of(options_.lock_patience) && !old_agent_killed_) kill_old_agent();
  if (waited >= 2 * count_of(options_.lock_patience)) {  // the kill had no effect: look again
    lock_asked_at_ = uv_now(loop_);
    old_agent_killed_ = false;
  }
  timer_->start(k_lock_again);
}

void AgentSupervisor::kill_old_agent() {
  old_agent_killed_ = true;
  const core::Result<pid_t> killed = lock_.kill_holder(options_.program);
  if (killed)
    log(core::LogLevel::warning, "old_agent_killed", fmt::format("pid={}", *killed));
  else
    log(core::LogLevel::error, "old_agent_alive", fmt::format("error=\"{}\"", killed.error().what));
}

void AgentSupervisor::start_agent() {
  core::Hello hello = make_hello_();
  relays_.clear();
  for (const core::RelaySettings& relay : hello.relays)
    relays_.insert(relay.name);
  core::Result<core::Secret> frame = channel::encode(core::Order(std::move(hello)));
  if (frame) {
    std::vector<std::string> environment = options_.environment;
    for (std::string& setting : std::exchange(options_.first_environment, {}))
      environment.push_back(std::move(setting));
    auto process = AgentProcess::spawn(loop_, options_.program, environment, lock_.descriptor(), *this);
    if (process)
      process_ = std::move(*process);
    else
      frame = tl::unexpected(process.error());
  }
  lock_.release();
  if (!frame) {
    log(core::LogLevel::error, "agent_start_failed", fmt::format("error=\"{}\"", frame.error().what));
    rest();
    return;
  }
  state_ = State::starting;
  believed_ = true;
  drop_logged_ = false;
  ready_at_ = 0;
  process_->send(std::move(*frame));
  timer_->start(options_.hello_timeout);
}

void AgentSupervisor::rest() {
  lock_.release();
  state_ = State::resting;
  timer_->start(backoff_);
  backoff_ = std::min(2 * backoff_, options_.backoff_most);
}

void AgentSupervisor::end_agent(std::string_view reason) {
  if (state_ != State::dying)
    log(core::LogLevel::error, "agent_killed", fmt::format("pid={} reason=\"{}\"", process_->pid(), reason));
  state_ = State::dying;
  timer_->stop();
  beat_->stop();
  process_->kill();
}

void AgentSupervisor::on_gone(const AgentExit& exit) {
  const bool asked = !done_.empty();
  const bool well = asked && exit.signal == 0 && exit.status == 0;
  log(well ? core::LogLevel::info : core::LogLevel::warning, "agent_gone",
      fmt::format("pid={} status={} signal={} held={}", process_->pid(), exit.status, exit.signal,
                  held_.size()));
  const bool was_ready = ready_at_ != 0;
  if (was_ready && uv_now(loop_) - ready_at_ >= count_of(options_.steady_after))
    backoff_ = options_.backoff_first;
  process_.reset();
  ready_at_ = 0;
  beat_->stop();
  if (asked)
    state_ = State::dying;
  else
    rest();
  std::vector<LostJob> lost;
  for (const auto& [id, job] : std::exchange(held_, {}))
    lost.push_back({{id, job.attempt}, job.dot_next});
  const auto tests = std::exchange(tests_, {});
  for (const auto& [test, steps] : tests)
    listener_.on_fact(core::TestDone{test, false});
  if (was_ready) listener_.on_lost(std::move(lost));
  if (asked) timer_->start(core::Millis{0});
}

void AgentSupervisor::on_beat() {
  if (beats_missed_ >= options_.missed_beats) {
    end_agent("it is silent");
    return;
  }
  ++beats_missed_;
  log_lines_ = 0;
  process_->send(core::Secret(channel::encode_beat()));
  beat_->start(options_.beat);
}

// ---- What it says

void AgentSupervisor::on_nonsense(const core::Error& error) {
  believed_ = false;
  end_agent(error.what);
}

void AgentSupervisor::on_frame(std::string_view frame) {
  if (!believed_) return;
  if (frame.empty()) {
    beats_missed_ = 0;
    return;
  }
  core::Result<core::Fact> fact = channel::decode_fact(frame);
  if (fact)
    take_fact(std::move(*fact));
  else
    on_nonsense(fact.error());
}

void AgentSupervisor::take_fact(core::Fact fact) {
  if (std::holds_alternative<core::AgentReady>(fact) != (ready_at_ == 0)) {
    on_nonsense({core::Errc::malformed, "it did not begin with one answer to the hello"});
    return;
  }
  const auto is_final = [this](const core::AttemptKey& key) {
    return is_ours(key) && held_.erase(key.message) == 1;
  };
  const bool forward =
      std::visit(Overloaded{
                     [this](const core::JobDotNext& f) {
                       return is_ours(f.key) && !std::exchange(held_[f.key.message].dot_next, true);
                     },
                     [&](const core::JobRelayed& f) { return is_final(f.key); },
                     [&](const core::JobRefused& f) { return is_final(f.key); },
                     [&](const core::JobNotSent& f) { return is_final(f.key); },
                     [&](const core::JobUncertain& f) { return is_final(f.key); },
                     [this](const core::RelayFact& f) {
                       if (relays_.contains(f.relay)) return true;
                       drop("a fact of a relay that it does not have");
                       return false;
                     },
                     [this](const core::AgentReady& f) {
                       take_ready(f);
                       return false;
                     },
                     [this](const core::AgentLog& f) {
                       take_log(f);
                       return false;
                     },
                     [this](const core::TestStep& f) {
                       const auto test = tests_.find(f.test);
                       if (test != tests_.end() && ++test->second <= k_test_steps) return true;
                       drop("a step of a test that nobody asked for, or too many");
                       return false;
                     },
                     [this](const core::TestDone& f) {
                       if (tests_.erase(f.test) == 1) return true;
                       drop("the end of a test that nobody asked for");
                       return false;
                     },
                 },
                 fact);
  if (forward) listener_.on_fact(std::move(fact));
}

void AgentSupervisor::take_ready(const core::AgentReady& ready) {
  if (ready.pid != process_->pid()) {
    on_nonsense({core::Errc::malformed, "it gives another process's number"});
    return;
  }
  ready_at_ = std::max<std::uint64_t>(uv_now(loop_), 1);
  if (state_ != State::starting) return;  // it is being killed
  state_ = State::ready;
  timer_->stop();
  beats_missed_ = 0;
  log_lines_ = 0;
  beat_->start(options_.beat);
  const bool confined = ready.confinement == core::Confinement::full;
  log(confined ? core::LogLevel::info : core::LogLevel::warning, "agent_ready",
      fmt::format("pid={} version={} confinement={}", ready.pid, ready.version,
                  confined ? "full" : "no_landlock"));
  listener_.on_ready(ready);
}

// The line is printable already; without quotes it cannot pass for fields of ours.
void AgentSupervisor::take_log(const core::AgentLog& line) {
  if (++log_lines_ > k_log_lines_a_beat) {
    drop("more log lines than it may write");
    return;
  }
  std::string text = line.line;
  std::replace(text.begin(), text.end(), '"', '\'');
  log(core::LogLevel::info, "agent_log", fmt::format("line=\"{}\"", text));
}

bool AgentSupervisor::is_ours(const core::AttemptKey& key) {
  const auto job = held_.find(key.message);
  if (job != held_.end() && job->second.attempt == key.attempt) return true;
  drop("a fact of a job that it does not hold");
  return false;
}

// Once an agent: it must not fill the log.
void AgentSupervisor::drop(std::string_view why) {
  if (!std::exchange(drop_logged_, true))
    log(core::LogLevel::warning, "agent_fact_dropped", fmt::format("reason=\"{}\"", why));
}

// ---- What it is told

void AgentSupervisor::submit(core::Job job) {
  const core::AttemptKey key = job.key;
  if (!ready()) {
    listener_.on_lost({LostJob{key, false}});
    return;
  }
  core::Result<core::Secret> frame = channel::encode(core::Order(std::move(job)));
  if (!frame) {
    listener_.on_fact(core::JobNotSent{key, core::Stage::local, frame.error().what, std::nullopt});
    return;
  }
  held_[key.message] = Held{key.attempt, false};
  process_->send(std::move(*frame));
}

void AgentSupervisor::cancel(const core::AttemptKey& key) {
  const auto job = held_.find(key.message);
  if (state_ != State::ready || job == held_.end() || job->second.attempt != key.attempt) return;
  process_->send(*channel::encode(core::Order(core::CancelJob{key})));
}

void AgentSupervisor::set_password(core::SetPassword order) {
  if (state_ != State::ready) return;
  const std::string relay = order.relay;
  core::Result<core::Secret> frame = channel::encode(core::Order(std::move(order)));
  if (frame)
    process_->send(std::move(*frame));
  else
    log(core::LogLevel::error, "password_not_sent",
        fmt::format("relay={} error=\"{}\"", relay, frame.error().what));
}

void AgentSupervisor::test(core::TestRelay order) {
  const std::uint32_t test = order.test;
  core::Result<core::Secret> frame = channel::encode(core::Order(std::move(order)));
  if (state_ != State::ready || !frame) {
    listener_.on_fact(core::TestDone{test, false});
    return;
  }
  tests_[test] = 0;
  process_->send(std::move(*frame));
}

// ---- Its end

void AgentSupervisor::stop_when_gone(std::function<void()> done) {
  done_.push_back(std::move(done));
  if (process_) return;
  lock_.release();
  state_ = State::dying;
  timer_->start(core::Millis{0});
}

void AgentSupervisor::drain(core::Millis grace, std::function<void()> done) {
  if (state_ != State::ready) {
    stop_now(std::move(done));
    return;
  }
  stop_when_gone(std::move(done));
  state_ = State::draining;
  process_->send(*channel::encode(core::Order(core::Drain{grace})));
  timer_->start(grace + k_drain_slack);
}

void AgentSupervisor::stop_now(std::function<void()> done) {
  if (state_ == State::stopped) {
    done();
    return;
  }
  stop_when_gone(std::move(done));
  if (!process_) return;
  state_ = State::dying;
  timer_->stop();
  beat_->stop();
  process_->kill();
}

void AgentSupervisor::finish() {
  state_ = State::stopped;
  timer_.reset();
  beat_.reset();
  for (const auto& done : std::exchange(done_, {}))
    done();
}

}  // namespace mailotp::daemon
