#include "mail/smtp/agent.h"

#include <cstdlib>
#include <utility>
#include <variant>

#include <unistd.h>

#include "core/check.h"
#include "mail/channel/codec.h"

namespace mailotp::mail {
namespace {

// With more than this unread by the daemon no further order is taken.
constexpr std::size_t k_backed_up = 256 << 10;

template <class... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <class... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

}  // namespace

Agent::Agent(uv_loop_t* loop, std::unique_ptr<channel::FrameSocket> channel, core::Hello hello,
             core::Confinement confinement, const RelayFactory& make_relay)
    : loop_(loop), channel_(std::move(channel)) {
  poll_.emplace(loop_, channel_->descriptor(), [this](int events) { on_channel(events); });
  turn_.emplace(loop_, [this] { on_turn(); });
  leave_.emplace(loop_, [] { std::_Exit(k_exit_left_open); });
  report(core::AgentReady{MAILOTP_VERSION, ::getpid(), confinement});
  for (core::RelaySettings& settings : hello.relays) {
    std::string name = settings.name;
    relays_[std::move(name)] = make_relay(std::move(settings), hello, loop_, *this);
  }
}

Agent::~Agent() {
  CHECK(relays_.empty() && !poll_);
}

void Agent::report(core::Fact fact) {
  if (gone_) return;
  const bool dot_next = std::holds_alternative<core::JobDotNext>(fact);
  channel_->send(core::Secret(channel::encode(fact)));
  if (dot_next)
    channel_->flush_all();
  else
    turn_->start(core::Millis{0});
}

void Agent::on_channel(int events) {
  // An error of the socket: the daemon died and left facts unread.
  const bool end = events < 0 || ((events & UV_READABLE) != 0 &&
                                  channel_->receive() == channel::FrameSocket::Received::end);
  if (end)
    daemon_gone(std::nullopt);
  else
    on_turn();
}

void Agent::on_turn() {
  if (!gone_) {
    take_orders();
    channel_->flush();
  }
  if (draining_ && relays_to_drain_ == 0)
    end();
  else
    watch();
}

void Agent::watch() {
  int events = 0;
  if (!gone_ && channel_->waiting() <= k_backed_up) events |= UV_READABLE;
  if (!gone_ && channel_->waiting() > 0) events |= UV_WRITABLE;
  poll_->watch(events);
}

void Agent::take_orders() {
  while (!gone_ && channel_->waiting() <= k_backed_up) {
    auto frame = channel_->next();
    if (!frame) {
      daemon_gone(std::move(frame.error()));
      return;
    }
    if (!*frame) return;
    obey(**frame);
  }
}

void Agent::obey(std::string_view frame) {
  if (frame.empty()) {
    channel_->send(core::Secret(channel::encode_beat()));
    return;
  }
  core::Result<core::Order> order = channel::decode_order(frame);
  if (order)
    obey(std::move(*order));
  else
    daemon_gone(std::move(order.error()));
}

void Agent::obey(core::Order order) {
  const auto relay = [this](std::string_view name) -> Relay* {
    const auto found = relays_.find(name);
    return found == relays_.end() ? nullptr : found->second.get();
  };
  std::visit(Overloaded{
                 [this](core::Hello&&) {
                   daemon_gone(core::Error{core::Errc::malformed, "a second hello"});
                 },
                 [this](core::Job&& job) { submit(std::move(job)); },
                 [this](core::CancelJob&& cancel) {
                   for (const auto& [name, one] : relays_)
                     one->cancel(cancel.key);
                 },
                 [&relay](core::SetPassword&& set) {
                   if (Relay* one = relay(set.relay)) one->set_password(std::move(set.password));
                 },
                 [this, &relay](core::TestRelay&& test) {
                   Relay* one = draining_ ? nullptr : relay(test.relay);
                   if (one != nullptr)
                     one->test(test.test);
                   else
                     report(core::TestDone{test.test, false});
                 },
                 [this](core::Drain&& order_to_drain) { drain(order_to_drain.grace); },
             },
             std::move(order));
}

void Agent::submit(core::Job job) {
  const auto found = relays_.find(job.relay);
  if (draining_)
    report(core::JobNotSent{job.key, core::Stage::local, "the agent is ending", std::nullopt});
  else if (found == relays_.end())
    report(core::JobNotSent{job.key, core::Stage::local, "no such relay", std::nullopt});
  else
    found->second->submit(std::move(job));
}

void Agent::drain(core::Millis grace) {
  if (draining_) return;
  draining_ = true;
  relays_to_drain_ = relays_.size();
  turn_->start(core::Millis{0});
  for (const auto& [name, relay] : relays_)
    relay->drain(grace, [this] { relay_drained(); });
}

// Called by a relay, which is destroyed in a later turn.
void Agent::relay_drained() {
  --relays_to_drain_;
  turn_->start(core::Millis{0});
}

void Agent::daemon_gone(std::optional<core::Error> fault) {
  if (gone_) return;
  gone_ = true;
  fault_ = std::move(fault);
  leave_->start(k_leave);
  drain(core::Millis{0});
  watch();
}

void Agent::end() {
  if (!gone_) channel_->flush_all();
  relays_.clear();
  poll_.reset();
  turn_.reset();
  leave_.reset();
}

}  // namespace mailotp::mail
