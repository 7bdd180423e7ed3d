#include "daemon/agents/agent_life.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/check.h"
#include "mail/channel/codec.h"

namespace mailotp::daemon {
namespace {

constexpr core::Millis k_lock_again{20};
constexpr core::Millis k_drain_slack{1000};  // beyond the grace, for an agent to end by itself
constexpr int k_log_lines_a_beat = 50;

std::uint64_t count_of(core::Millis time) {
  return static_cast<std::uint64_t>(time.count());
}

}  // namespace

AgentLife::AgentLife(uv_loop_t* loop, AgentOptions options, Owner& owner, core::Log& log)
    : loop_(loop),
      options_(std::move(options)),
      owner_(owner),
      log_(log),
      lock_(options_.lock_path),
      backoff_(options_.backoff_first) {}

AgentLife::~AgentLife() {
  CHECK(state_ == State::stopped);
}

void AgentLife::log(core::LogLevel level, std::string_view event, std::string_view rest) {
  log_.write(level,
             fmt::format("event={} agent={}{}{}", event, options_.name, rest.empty() ? "" : " ", rest));
}

// ---- The agent's life

void AgentLife::start() {
  CHECK(state_ == State::stopped);
  timer_.emplace(loop_, [this] { on_timer(); });
  beat_.emplace(loop_, [this] { on_beat(); });
  backoff_ = options_.backoff_first;
  wait_for_lock();
}

void AgentLife::on_timer() {
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

void AgentLife::wait_for_lock() {
  state_ = State::waiting_for_lock;
  lock_asked_at_ = uv_now(loop_);
  old_agent_killed_ = false;
  try_lock();
}

void AgentLife::try_lock() {
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

void AgentLife::kill_old_agent() {
  old_agent_killed_ = true;
  const core::Result<pid_t> killed = lock_.kill_holder(options_.program);
  if (killed)
    log(core::LogLevel::warning, "old_agent_killed", fmt::format("pid={}", *killed));
  else
    log(core::LogLevel::error, "old_agent_alive", fmt::format("error=\"{}\"", killed.error().what));
}

void AgentLife::start_agent() {
  core::Result<core::Secret> frame = owner_.hello_frame();
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
  renewing_ = false;
  ready_at_ = 0;
  process_->send(std::move(*frame));
  timer_->start(options_.hello_timeout);
}

void AgentLife::rest() {
  lock_.release();
  state_ = State::resting;
  ++restarts_;
  timer_->start(backoff_);
  backoff_ = std::min(2 * backoff_, options_.backoff_most);
}

// At once, in a turn of its own: the owner is to know first.
void AgentLife::follow() {
  lock_.release();
  state_ = State::resting;
  timer_->start(core::Millis{0});
}

void AgentLife::end_agent(std::string_view reason) {
  if (state_ != State::dying)
    log(core::LogLevel::error, "agent_killed", fmt::format("pid={} reason=\"{}\"", process_->pid(), reason));
  state_ = State::dying;
  timer_->stop();
  beat_->stop();
  process_->kill();
}

void AgentLife::on_gone(const AgentExit& exit) {
  const bool asked = !done_.empty();
  const bool renewed = !asked && renewing_ && exit.signal == 0 && exit.status == 0;
  const bool well = renewed || (asked && exit.signal == 0 && exit.status == 0);
  log(well ? core::LogLevel::info : core::LogLevel::warning, "agent_gone",
      fmt::format("pid={} status={} signal={} {}", process_->pid(), exit.status, exit.signal,
                  owner_.what_it_held()));
  const bool was_ready = ready_at_ != 0;
  if (was_ready && uv_now(loop_) - ready_at_ >= count_of(options_.steady_after))
    backoff_ = options_.backoff_first;
  process_.reset();
  ready_at_ = 0;
  beat_->stop();
  if (asked)
    state_ = State::dying;
  else if (renewed || (renewing_ && !was_ready))
    follow();
  else
    rest();
  owner_.on_gone(!was_ready ? Owner::Was::never_ready : renewed ? Owner::Was::renewed : Owner::Was::ready);
  if (asked) timer_->start(core::Millis{0});
}

void AgentLife::on_beat() {
  if (beats_missed_ >= options_.missed_beats) {
    end_agent("it is silent");
    return;
  }
  ++beats_missed_;
  log_lines_ = 0;
  process_->send(core::Secret(channel::encode_beat()));
  beat_->start(options_.beat);
}

std::optional<std::uint64_t> AgentLife::signs_of_life() const {
  const bool asked = state_ == State::ready || (state_ == State::dying && process_);
  return asked ? std::optional(frames_) : std::nullopt;
}

// ---- What it says

void AgentLife::on_nonsense(const core::Error& error) {
  end_for(error);
}

void AgentLife::end_for(const core::Error& error) {
  believed_ = false;
  end_agent(error.what);
}

void AgentLife::on_frame(std::string_view frame) {
  if (!believed_) return;
  ++frames_;
  if (frame.empty())
    beats_missed_ = 0;
  else
    owner_.on_frame(frame);
}

bool AgentLife::begins_well(bool is_ready_fact) {
  if (is_ready_fact == (ready_at_ == 0)) return true;
  end_for({core::Errc::malformed, "it did not begin with one answer to the hello"});
  return false;
}

bool AgentLife::take_ready(const core::AgentReady& ready) {
  if (ready.pid != process_->pid()) {
    end_for({core::Errc::malformed, "it gives another process's number"});
    return false;
  }
  ready_at_ = std::max<std::uint64_t>(uv_now(loop_), 1);
  if (state_ != State::starting) return false;  // it is being killed
  state_ = State::ready;
  timer_->stop();
  beats_missed_ = 0;
  log_lines_ = 0;
  beat_->start(options_.beat);
  const bool confined = ready.confinement == core::Confinement::full;
  log(confined ? core::LogLevel::info : core::LogLevel::warning, "agent_ready",
      fmt::format("pid={} version={} confinement={}", ready.pid, ready.version,
                  confined ? "full" : "no_landlock"));
  return true;
}

// The line is printable already; without quotes it cannot pass for fields of ours.
void AgentLife::take_log(const core::AgentLog& line) {
  if (++log_lines_ > k_log_lines_a_beat) {
    drop("more log lines than it may write");
    return;
  }
  std::string text = line.line;
  std::replace(text.begin(), text.end(), '"', '\'');
  log(core::LogLevel::info, "agent_log", fmt::format("line=\"{}\"", text));
}

void AgentLife::drop(std::string_view why) {
  if (!std::exchange(drop_logged_, true))
    log(core::LogLevel::warning, "agent_fact_dropped", fmt::format("reason=\"{}\"", why));
}

// ---- What it is told

void AgentLife::send(core::Secret frame) {
  CHECK(state_ == State::ready);
  process_->send(std::move(frame));
}

void AgentLife::flush() {
  if (process_) process_->flush();
}

// ---- Its end

void AgentLife::stop_when_gone(std::function<void()> done) {
  done_.push_back(std::move(done));
  if (process_) return;
  lock_.release();
  state_ = State::dying;
  timer_->start(core::Millis{0});
}

void AgentLife::renew(core::Secret order, core::Millis grace) {
  if (!done_.empty()) return;
  if (state_ == State::starting) {  // with the hello of before
    renewing_ = true;
    state_ = State::dying;
    timer_->stop();
    process_->kill();
  }
  if (state_ != State::ready) return;  // the next hello is the new one
  log(core::LogLevel::info, "agent_renewed", fmt::format("pid={}", process_->pid()));
  renewing_ = true;
  state_ = State::draining;
  process_->send(std::move(order));
  timer_->start(grace + k_drain_slack);
}

void AgentLife::drain(core::Secret order, core::Millis grace, std::function<void()> done) {
  if (state_ == State::draining && done_.empty()) {  // it ends already, for another one
    stop_when_gone(std::move(done));
    timer_->start(grace + k_drain_slack);
    return;
  }
  if (state_ != State::ready) {
    stop_now(std::move(done));
    return;
  }
  stop_when_gone(std::move(done));
  state_ = State::draining;
  process_->send(std::move(order));
  timer_->start(grace + k_drain_slack);
}

void AgentLife::stop_now(std::function<void()> done) {
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

void AgentLife::finish() {
  state_ = State::stopped;
  timer_.reset();
  beat_.reset();
  for (const auto& done : std::exchange(done_, {}))
    done();
}

}  // namespace mailotp::daemon
