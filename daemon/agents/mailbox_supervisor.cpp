#include "daemon/agents/mailbox_supervisor.h"

#include <algorithm>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "mail/channel/mailbox_codec.h"

namespace mailotp::daemon {

MailboxSupervisor::MailboxSupervisor(uv_loop_t* loop, AgentOptions options,
                                     std::function<core::MailboxHello()> make_hello,
                                     MailboxListener& listener, core::Log& log)
    : make_hello_(std::move(make_hello)), listener_(listener), life_(loop, std::move(options), *this, log) {}

MailboxSupervisor::~MailboxSupervisor() = default;

core::Result<core::Secret> MailboxSupervisor::hello_frame() {
  return channel::encode_mailbox_order(make_hello_());
}

std::string MailboxSupervisor::what_it_held() const {
  return fmt::format("undecided={} reading={}", undecided_.size(), next_ ? next_->uid : 0);
}

void MailboxSupervisor::on_gone(Was was) {
  session_ = Session::connecting;
  undecided_.clear();
  const std::optional<core::MailUid> reading = std::exchange(next_, std::nullopt);
  if (was == Was::ready) listener_.on_mailbox_lost(reading);
  if (was == Was::renewed) listener_.on_mailbox_lost(std::nullopt);  // it did not die of a mail
}

// ---- What it says

void MailboxSupervisor::on_frame(std::string_view frame) {
  core::Result<core::MailboxEvent> event = channel::decode_mailbox_event(frame);
  if (event)
    take_event(std::move(*event));
  else
    life_.end_for(event.error());
}

void MailboxSupervisor::take_event(core::MailboxEvent event) {
  if (!life_.begins_well(std::holds_alternative<core::AgentReady>(event))) return;
  if (std::visit([this](const auto& said) { return take(said); }, event))
    listener_.on_mailbox_event(std::move(event));
}

bool MailboxSupervisor::take(const core::AgentReady& ready) {
  if (life_.take_ready(ready)) listener_.on_mailbox_ready(ready);
  return false;
}

bool MailboxSupervisor::take(const core::AgentLog& line) {
  life_.take_log(line);
  return false;
}

// What it was reading when the connection went is not what it dies of from here on.
bool MailboxSupervisor::take(const core::MailboxFact& fact) {
  if (!fact.up) next_.reset();
  return true;
}

bool MailboxSupervisor::take(const core::MailboxOpened& opened) {
  session_ = Session::opened;
  uidvalidity_ = opened.uidvalidity;
  next_.reset();
  undecided_.clear();
  return true;
}

bool MailboxSupervisor::is_in_force(std::uint32_t uidvalidity) {
  if (session_ == Session::reading && uidvalidity == uidvalidity_) return true;
  life_.drop("a mail of a mailbox that is not open");
  return false;
}

// Handed on to nobody: it counts when the agent dies.
bool MailboxSupervisor::take(const core::MailNext& next) {
  if (!is_in_force(next.mail.uidvalidity)) return false;
  if (undecided_.contains(next.mail))
    life_.drop("a mail again that is not decided yet");
  else
    next_ = next.mail;
  return false;
}

bool MailboxSupervisor::take(const core::MailRead& read) {
  if (!is_in_force(read.mail.uidvalidity)) return false;
  if (next_ != read.mail) {
    life_.drop("a mail that it did not announce");
    return false;
  }
  if (undecided_.size() >= k_undecided) {
    life_.end_for({core::Errc::full, "it reads on although too many mails wait for their decision"});
    return false;
  }
  next_.reset();
  undecided_.insert(read.mail);
  return true;
}

// One that it had begun with may be gone when it is fetched.
bool MailboxSupervisor::take(const core::MailMoved& moved) {
  if (!is_in_force(moved.uidvalidity)) return false;
  if (next_ && std::ranges::find(moved.uids, next_->uid) != moved.uids.end()) next_.reset();
  return true;
}

// ---- What it is told

void MailboxSupervisor::send(const core::MailboxOrder& order, std::string_view name) {
  core::Result<core::Secret> frame = channel::encode_mailbox_order(order);
  if (frame)
    life_.send(std::move(*frame));
  else
    life_.log(core::LogLevel::error, "order_not_sent",
              fmt::format("order={} error=\"{}\"", name, frame.error().what));
}

void MailboxSupervisor::resume(core::MailboxResume order) {
  if (!ready() || session_ != Session::opened || order.uidvalidity != uidvalidity_) return;
  session_ = Session::reading;
  send(std::move(order), "resume");
}

void MailboxSupervisor::decide(const core::MailDecided& decision) {
  if (undecided_.erase(decision.mail) == 1 && ready()) send(decision, "decide");
}

void MailboxSupervisor::move(const core::MailDecided& decision) {
  if (ready() && session_ == Session::reading && decision.mail.uidvalidity == uidvalidity_)
    send(decision, "move");
}

void MailboxSupervisor::set_password(core::Secret password) {
  if (ready()) send(core::SetMailboxPassword{std::move(password)}, "password");
}

// ---- Its end

void MailboxSupervisor::renew(core::Millis grace) {
  life_.renew(*channel::encode_mailbox_order(core::Drain{grace}), grace);
}

void MailboxSupervisor::drain(core::Millis grace, std::function<void()> done) {
  life_.drain(*channel::encode_mailbox_order(core::Drain{grace}), grace, std::move(done));
}

void MailboxSupervisor::stop_now(std::function<void()> done) {
  life_.stop_now(std::move(done));
}

}  // namespace mailotp::daemon
