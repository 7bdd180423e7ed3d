#include "daemon/agents/supervisor.h"

#include <utility>
#include <variant>

#include <fmt/format.h>

#include "mail/channel/codec.h"

namespace mailotp::daemon {
namespace {

constexpr int k_test_steps = 32;

template <class... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <class... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

}  // namespace

AgentSupervisor::AgentSupervisor(uv_loop_t* loop, AgentOptions options,
                                 std::function<core::Hello()> make_hello, AgentListener& listener,
                                 core::Log& log)
    : make_hello_(std::move(make_hello)),
      listener_(listener),
      life_(loop, std::move(options), *this, log),
      patience_(loop, [this] { renew_now(); }) {}

AgentSupervisor::~AgentSupervisor() = default;

core::Result<core::Secret> AgentSupervisor::hello_frame() {
  core::Hello hello = make_hello_();
  relays_.clear();
  for (const core::RelaySettings& relay : hello.relays)
    relays_.insert(relay.name);
  return channel::encode(core::Order(std::move(hello)));
}

std::string AgentSupervisor::what_it_held() const {
  return fmt::format("held={}", held_.size());
}

void AgentSupervisor::on_gone(Was was) {
  renewing_.reset();
  patience_.stop();
  std::vector<LostJob> lost;
  for (const auto& [id, job] : std::exchange(held_, {}))
    lost.push_back({{id, job.attempt}, job.dot_next});
  const auto tests = std::exchange(tests_, {});
  for (const auto& [test, steps] : tests)
    listener_.on_fact(core::TestDone{test, false});
  if (was != Was::never_ready) listener_.on_lost(std::move(lost));
}

// ---- What it says

void AgentSupervisor::on_frame(std::string_view frame) {
  core::Result<core::Fact> fact = channel::decode_fact(frame);
  if (fact)
    take_fact(std::move(*fact));
  else
    life_.end_for(fact.error());
}

void AgentSupervisor::take_fact(core::Fact fact) {
  if (!life_.begins_well(std::holds_alternative<core::AgentReady>(fact))) return;
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
                       life_.drop("a fact of a relay that it does not have");
                       return false;
                     },
                     [this](const core::AgentReady& f) {
                       if (life_.take_ready(f)) listener_.on_ready(f);
                       return false;
                     },
                     [this](const core::AgentLog& f) {
                       life_.take_log(f);
                       return false;
                     },
                     [this](const core::TestStep& f) {
                       const auto test = tests_.find(f.test);
                       if (test != tests_.end() && ++test->second <= k_test_steps) return true;
                       life_.drop("a step of a test that nobody asked for, or too many");
                       return false;
                     },
                     [this](const core::TestDone& f) {
                       if (tests_.erase(f.test) == 1) return true;
                       life_.drop("the end of a test that nobody asked for");
                       return false;
                     },
                 },
                 fact);
  if (forward) listener_.on_fact(std::move(fact));
  if (held_.empty()) renew_now();
}

bool AgentSupervisor::is_ours(const core::AttemptKey& key) {
  const auto job = held_.find(key.message);
  if (job != held_.end() && job->second.attempt == key.attempt) return true;
  life_.drop("a fact of a job that it does not hold");
  return false;
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
  life_.send(std::move(*frame));
}

void AgentSupervisor::cancel(const core::AttemptKey& key) {
  const auto job = held_.find(key.message);
  if (!ready() || job == held_.end() || job->second.attempt != key.attempt) return;
  life_.send(*channel::encode(core::Order(core::CancelJob{key})));
}

// An agent that is about to be followed by another one has the relays of before: what may be another server's
// password is not for it, and the next hello has it.
void AgentSupervisor::set_password(core::SetPassword order) {
  if (!ready() || renewing_) return;
  const std::string relay = order.relay;
  core::Result<core::Secret> frame = channel::encode(core::Order(std::move(order)));
  if (frame)
    life_.send(std::move(*frame));
  else
    life_.log(core::LogLevel::error, "password_not_sent",
              fmt::format("relay={} error=\"{}\"", relay, frame.error().what));
}

void AgentSupervisor::test(core::TestRelay order) {
  const std::uint32_t test = order.test;
  core::Result<core::Secret> frame = channel::encode(core::Order(std::move(order)));
  if (!ready() || !frame) {
    listener_.on_fact(core::TestDone{test, false});
    return;
  }
  tests_[test] = 0;
  life_.send(std::move(*frame));
}

// ---- Its end

void AgentSupervisor::renew(core::Millis patience, core::Millis grace) {
  renewing_ = grace;
  if (held_.empty()) return renew_now();
  patience_.start(patience);
}

void AgentSupervisor::renew_now() {
  const auto grace = std::exchange(renewing_, std::nullopt);
  if (!grace) return;
  patience_.stop();
  life_.renew(*channel::encode(core::Order(core::Drain{*grace})), *grace);
}

void AgentSupervisor::drain(core::Millis grace, std::function<void()> done) {
  renewing_.reset();
  patience_.stop();
  life_.drain(*channel::encode(core::Order(core::Drain{grace})), grace, std::move(done));
}

void AgentSupervisor::stop_now(std::function<void()> done) {
  renewing_.reset();
  patience_.stop();
  life_.stop_now(std::move(done));
}

}  // namespace mailotp::daemon
