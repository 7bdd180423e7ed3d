#include "mail/imap/agent.h"

#include <cstdlib>
#include <utility>
#include <variant>

#include <unistd.h>

#include "core/check.h"
#include "mail/channel/mailbox_codec.h"

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

ImapAgent::ImapAgent(uv_loop_t* loop, std::unique_ptr<channel::FrameSocket> channel, core::MailboxHello hello,
                     core::Confinement confinement)
    : channel_(std::move(channel)), port_{*this, {}, {}} {
  channel_poll_.emplace(loop, channel_->descriptor(), [this](int events) { on_channel(events); });
  events_poll_.emplace(loop, events_.descriptor(), [this](int) { on_events(); });
  ended_poll_.emplace(loop, ended_.descriptor(), [this](int) { on_ended(); });
  leave_.emplace(loop, [] { std::_Exit(k_exit_left_open); });
  events_poll_->watch(UV_READABLE);
  ended_poll_->watch(UV_READABLE);
  channel_->send(core::Secret(
      channel::encode_mailbox_event(core::AgentReady{MAILOTP_VERSION, ::getpid(), confinement})));
  session_.emplace(std::move(hello), port_, ended_);
  take_orders();
  channel_->flush();
  watch();
}

ImapAgent::~ImapAgent() {
  CHECK(!session_ && !channel_poll_);
}

void ImapAgent::report(core::MailboxEvent event) {
  const bool wait = std::holds_alternative<core::MailNext>(event);
  std::unique_lock lock(mutex_);
  const std::uint64_t number = ++put_;
  events_.put(channel::encode_mailbox_event(event));
  if (wait) written_.wait(lock, [&] { return sent_ >= number; });
}

void ImapAgent::on_events() {
  const std::vector<std::string> frames = events_.take();
  if (!gone_) {
    for (const std::string& frame : frames)
      channel_->send(core::Secret(frame));
    channel_->flush_all();
  }
  {
    const std::lock_guard lock(mutex_);
    sent_ += frames.size();
  }
  written_.notify_one();
  watch();
}

void ImapAgent::on_channel(int events) {
  // An error of the socket: the daemon died and left events unread.
  const bool end = events < 0 || ((events & UV_READABLE) != 0 &&
                                  channel_->receive() == channel::FrameSocket::Received::end);
  if (end) {
    daemon_gone(std::nullopt);
    return;
  }
  take_orders();
  if (!gone_) channel_->flush();
  watch();
}

void ImapAgent::watch() {
  if (!channel_poll_) return;
  int events = 0;
  if (!gone_ && channel_->waiting() <= k_backed_up) events |= UV_READABLE;
  if (!gone_ && channel_->waiting() > 0) events |= UV_WRITABLE;
  channel_poll_->watch(events);
}

void ImapAgent::take_orders() {
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

void ImapAgent::obey(std::string_view frame) {
  if (frame.empty()) {
    channel_->send(core::Secret(channel::encode_beat()));
    return;
  }
  core::Result<core::MailboxOrder> order = channel::decode_mailbox_order(frame);
  if (order)
    obey(std::move(*order));
  else
    daemon_gone(std::move(order.error()));
}

void ImapAgent::obey(core::MailboxOrder order) {
  std::visit(Overloaded{
                 [this](core::MailboxHello&&) {
                   daemon_gone(core::Error{core::Errc::malformed, "a second hello"});
                 },
                 [this](core::Drain&& drain) { stop(drain.grace, k_slack); },
                 [this](auto&& other) { port_.orders.put(std::move(other)); },
             },
             std::move(order));
}

void ImapAgent::stop(core::Millis grace, core::Millis slack) {
  port_.stop.raise(grace);
  if (std::exchange(stopped_, true) && !gone_) return;
  leave_->start(grace + slack);
}

void ImapAgent::daemon_gone(std::optional<core::Error> fault) {
  if (std::exchange(gone_, true)) return;
  fault_ = std::move(fault);
  stop(core::Millis{0}, k_leave);
  watch();
}

void ImapAgent::on_ended() {
  on_events();
  end();
}

void ImapAgent::end() {
  if (!gone_) channel_->flush_all();
  session_.reset();
  channel_poll_.reset();
  events_poll_.reset();
  ended_poll_.reset();
  leave_.reset();
}

}  // namespace mailotp::mail
