#include "mail/smtp/connection.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/crash_point.h"
#include "mail/agent/boot_clock.h"
#include "mail/channel/codec.h"
#include "mail/smtp/sendable.h"

namespace mailotp::mail {

using core::Stage;

namespace {

// libesmtp is not read while the relay has this much to take.
constexpr std::size_t k_backlog_bytes = 128 * 1024;
// What it says leaves in pieces of about this size.
constexpr std::size_t k_write_bytes = 16 * 1024;

core::Millis until(std::uint64_t at, std::uint64_t now) {
  return core::Millis{static_cast<core::Millis::rep>(at > now ? at - now : 0)};
}

}  // namespace

Connection::Connection(const ConnectionSetting& setting, Resolver& resolver, ConnectionOwner& owner)
    : setting_(setting),
      owner_(owner),
      opener_(setting.loop, setting.relay, setting.hostname, resolver, setting.deadlines, *this),
      phase_timer_(setting.loop, [this] { phase_ended(); }),
      before_dot_(setting.loop, [this] {
        lose({where(), "no dot within its time", std::nullopt, OpenFault::Kind::late});
      }) {}

Connection::~Connection() = default;

void Connection::open() {
  opener_.open();
}

void Connection::on_opened(Opened opened) {
  stream_ = std::move(opened.stream);
  stream_->listen(*this);
  capabilities_ = std::move(opened.capabilities);
  authenticated_ = opened.authenticated;
  opened_at_ = uv_now(setting_.loop);
  become_idle();
}

void Connection::on_open_failed(const OpenFault& fault) {
  over({ConnectionEnd::Kind::open_failed, fault});
}

bool Connection::still_idle() {
  if (state_ == State::idle) stream_->read_now();
  if (state_ == State::idle && !replies_.empty())
    lose({where(), "part of a reply that nobody asked for", std::nullopt, OpenFault::Kind::ordinary});
  return state_ == State::idle;
}

// ---- A message

OutgoingMessage Connection::outgoing(core::Job& job) const {
  OutgoingMessage message;
  message.return_path = job.return_path;
  message.recipient = job.recipient;
  if (capabilities_.dsn) {
    message.dsn = OutgoingMessage::Dsn::on;
    message.notify = setting_.dsn_notify;
    if (is_plain_parameter(job.envid)) message.envid = job.envid;
    if (is_plain_parameter(job.recipient)) message.orcpt = job.recipient;
  }
  const std::string_view content = job.content.reveal();
  const bool eight_bit = std::any_of(content.begin(), content.end(),
                                     [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
  if (eight_bit && capabilities_.eight_bit_mime) message.body = OutgoingMessage::Body::eight_bit;
  message.size_parameter =
      capabilities_.size_parameter ? OutgoingMessage::Size::declared : OutgoingMessage::Size::unsaid;
  message.content = std::move(job.content);
  return message;
}

void Connection::start(Task task) {
  CHECK(state_ == State::idle);
  const std::size_t size = task.job.content.size();
  if (capabilities_.size && size > *capabilities_.size) {
    setting_.sink.report(
        core::JobRefused{task.job.key, Stage::mail,
                         core::Reply{552, "5.3.4",
                                     "not sent: " + std::to_string(size) + " bytes, the relay takes " +
                                         std::to_string(*capabilities_.size)}});
    return;
  }
  // Kept until MAIL is answered, in case the connection turns out to be dead.
  core::Secret copy = messages_ > 0 ? task.job.content.clone() : core::Secret();
  OutgoingMessage message = outgoing(task.job);
  task.job.content = std::move(copy);
  state_ = State::busy;
  dot_ = Dot::none;
  phase_timer_.stop();
  before_dot_.start(until(task.dot_before, uv_now(setting_.loop)));
  task_ = std::move(task);
  if (!engine_) {
    ConversationPort& port = *this;
    conversation_.emplace(
        port, engine_ehlo(capabilities_),
        capabilities_.pipelining ? Conversation::Pipelining::yes : Conversation::Pipelining::no);
    engine_.emplace(setting_.hostname);
    engine_->hear(Conversation::greeting());
  }
  engine_->send(std::move(message));
  flush();
}

void Connection::to_relay(std::string_view bytes) {
  out_ += bytes;
}

void Connection::to_engine(std::string_view bytes) {
  engine_->hear(bytes);
}

// Lets libesmtp go on as far as it can and hands to the kernel what came of it.
void Connection::flush() {
  if (std::exchange(turn_, Turn::under_way) == Turn::under_way) return;
  while (run_engine()) {
    stream_->write(out_);
    out_.clear();
    if (dot_ == Dot::queued && stream_->unsent() == 0) dot_left();
  }
  turn_ = Turn::none;
}

// Whether there is something to write.
bool Connection::run_engine() {
  while ((state_ == State::idle || state_ == State::busy) && engine_ && engine_->can_run() &&
         out_.size() < k_write_bytes && stream_->unsent() <= k_backlog_bytes) {
    conversation_->from_engine(engine_->run());
    engine_->forget_said();
  }
  // After the dot only the relay's reply matters.
  if (state_ == State::busy && dot_ < Dot::queued && engine_->over())
    lose({Stage::local, "libesmtp ended the session: " + engine_->fault(), std::nullopt,
          OpenFault::Kind::ordinary});
  return state_ != State::over && !out_.empty();
}

void Connection::end_engine() {
  if (engine_) engine_->end();
}

void Connection::phase(Stage stage) {
  ++phases_;
  const Deadlines& deadlines = setting_.deadlines;
  switch (stage) {
    case Stage::mail:
      return phase_timer_.start(deadlines.mail);
    case Stage::rcpt:
      return phase_timer_.start(deadlines.rcpt);
    case Stage::data:
      return phase_timer_.start(deadlines.data);
    case Stage::body:
      sent_seen_ = stream_->sent();
      return phase_timer_.start(deadlines.write);  // and before_dot_
    case Stage::local:
    case Stage::dns:
    case Stage::connect:
    case Stage::tls:
    case Stage::greeting:
    case Stage::ehlo:
    case Stage::starttls:
    case Stage::auth:
    case Stage::dot:
      break;
  }
  CHECK(false);
}

void Connection::end_of_body(std::string_view rest) {
  out_ += rest;
  dot_ = Dot::waits;
  if (stream_->unsent() == 0) send_dot();
}

void Connection::send_dot() {
  // A reply that comes before the dot is not the dot's; and a relay that has gone by now has no mail.
  stream_->read_now();
  if (state_ != State::busy) return;
  if (uv_now(setting_.loop) >= task_->dot_before || since_boot() >= task_->dot_before_since_boot)
    return lose({Stage::body, "no dot within its time", std::nullopt, OpenFault::Kind::late});
  MAILOTP_CRASH_POINT("dot_next");
  // First the fact, then the dot: from here a loss is an uncertainty.
  setting_.sink.report(core::JobDotNext{task_->job.key});
  MAILOTP_CRASH_POINT("dot_announced");
  dot_ = Dot::queued;
  conversation_->dot_sent();
}

void Connection::dot_left() {
  MAILOTP_CRASH_POINT("dot_left");
  dot_ = Dot::left;
  ++phases_;
  const std::uint64_t now = uv_now(setting_.loop);
  before_dot_.stop();
  const Deadlines& deadlines = setting_.deadlines;
  phase_timer_.start(std::min(deadlines.dot, std::max(deadlines.dot_least, until(task_->not_after, now))));
}

void Connection::on_drained() {
  if (state_ != State::busy) return;
  if (dot_ == Dot::waits) {
    send_dot();
    return flush();
  }
  if (dot_ == Dot::queued) return dot_left();
  flush();
}

void Connection::relayed(core::Reply reply) {
  if (!task_) return;
  MAILOTP_CRASH_POINT("relay_said_yes");
  setting_.sink.report(core::JobRelayed{task_->job.key, std::move(reply)});
  task_.reset();
}

void Connection::refused(Stage stage, core::Reply reply) {
  if (!task_) return;
  if (stage == Stage::mail && reply.code == 530 && !authenticated_) {
    // It wants AUTH: that is between the relay and us, not about this message.
    std::string reason = "the relay wants AUTH: 530 " + reply.text;
    return lose({Stage::auth, std::move(reason), std::move(reply), OpenFault::Kind::ordinary});
  }
  before_dot_.stop();
  setting_.sink.report(core::JobRefused{task_->job.key, stage, std::move(reply)});
  task_.reset();
}

void Connection::idle() {
  if (state_ != State::busy) return;
  ++messages_;
  become_idle();
}

void Connection::become_idle() {
  before_dot_.stop();
  ++phases_;
  state_ = State::idle;
  const Deadlines& deadlines = setting_.deadlines;
  const auto age = static_cast<core::Millis::rep>(uv_now(setting_.loop) - opened_at_);
  const bool worn = messages_ >= deadlines.session_messages || age >= deadlines.session_age.count();
  if (leaving_ == Leaving::yes || worn || (engine_ && engine_->over())) return quit();
  phase_timer_.start(deadlines.idle);
  owner_.on_ready(*this);
}

// ---- The relay's side

void Connection::on_bytes(std::string_view bytes) {
  replies_.feed(bytes);
  const Turn before = std::exchange(turn_, Turn::under_way);
  take_replies();
  turn_ = before;
  flush();
}

void Connection::take_replies() {
  while (state_ != State::over) {
    const auto reply = replies_.next();
    if (reply && !*reply) return;
    if (state_ == State::quitting) {
      if (reply && late_since_) late_reply(**reply);
      return over({});
    }
    if (!reply) return lose({where(), reply.error().what, std::nullopt, OpenFault::Kind::ordinary});
    if (conversation_) {
      conversation_->from_relay(**reply);
    } else {
      broken(where(), "a reply that nobody asked for", to_reply(**reply));
    }
  }
}

void Connection::on_end(const std::string& reason) {
  if (state_ == State::quitting) return over({});
  if (conversation_) conversation_->relay_closed();
  lose({where(), reason, std::nullopt, OpenFault::Kind::ordinary});
}

void Connection::broken(Stage stage, std::string reason, std::optional<core::Reply> reply) {
  if (reply) reason += ": " + std::to_string(reply->code) + " " + reply->text;
  // 421 speaks of the connection, whatever it answers (RFC 5321 section 3.8).
  const bool closes = reply && reply->code == 421;
  lose({closes ? Stage::connect : stage, std::move(reason), std::move(reply),
        closes ? OpenFault::Kind::closes : OpenFault::Kind::ordinary});
}

void Connection::phase_ended() {
  // After the process was stopped, or starved, timers fire before sockets are read: what came in time counts.
  const std::uint64_t phase = phases_;
  stream_->read_now();
  if (state_ == State::over || phases_ != phase) return;
  if (state_ == State::idle) return quit();
  if (state_ == State::quitting) return over({});
  const Stage stage = where();
  if (stage == Stage::body && (stream_->unsent() == 0 || stream_->sent() > sent_seen_)) {
    sent_seen_ = stream_->sent();
    return phase_timer_.start(setting_.deadlines.write);
  }
  OpenFault fault{stage,
                  std::string(core::to_string(stage)) +
                      (stage == Stage::body ? ": the relay takes nothing more" : ": no reply in time"),
                  std::nullopt, OpenFault::Kind::timed_out};
  if (stage == Stage::dot) return wait_for_late_reply(fault);
  lose(std::move(fault));
}

Stage Connection::where() const {
  if (!conversation_) return Stage::mail;
  const Stage stage = conversation_->stage();
  // With bytes of it unsent the relay cannot have seen the dot.
  return stage == Stage::dot && dot_ != Dot::left && (stream_->unsent() > 0 || !out_.empty()) ? Stage::body
                                                                                              : stage;
}

// ---- Ends

void Connection::cancel(const std::string& why) {
  if (!task_ || where() == Stage::dot) return;
  task_->reconnected = Task::Reconnected::yes;  // not to be tried again
  lose({Stage::local, why, std::nullopt, OpenFault::Kind::canceled});
}

void Connection::drain(const std::string& why) {
  leaving_ = Leaving::yes;
  if (state_ == State::idle) return quit();
  if (state_ == State::busy && task_ && where() == Stage::dot) return;
  if (late_since_) return over({});
  if (state_ != State::quitting) cut(why);
}

void Connection::cut(const std::string& why) {
  if (task_) task_->reconnected = Task::Reconnected::yes;
  const Stage stage = task_ && where() == Stage::dot ? Stage::dot : Stage::local;
  lose({stage, why, std::nullopt, OpenFault::Kind::canceled});
}

void Connection::quit() {
  state_ = State::quitting;
  end_engine();
  stream_->write("QUIT\r\n");
  phase_timer_.start(setting_.deadlines.quit);
}

// The message's outcome is known; only the reply's time is still of interest, for whoever sets dot_timeout.
void Connection::wait_for_late_reply(const OpenFault& fault) {
  state_ = State::quitting;
  late_since_ = uv_now(setting_.loop);
  end_engine();
  phase_timer_.start(setting_.deadlines.dot);
  owner_.on_overdue(fault);
  tell_loss(*std::exchange(task_, std::nullopt), Loss::uncertain, fault);
}

void Connection::late_reply(const ReplyLines& lines) {
  const core::Reply reply = to_reply(lines);
  setting_.sink.report(core::AgentLog{"event=late_reply relay=" + setting_.relay.name +
                                      " code=" + std::to_string(reply.code) +
                                      " late_ms=" + std::to_string(uv_now(setting_.loop) - *late_since_)});
}

void Connection::is_surplus() {
  phase_timer_.start(setting_.deadlines.surplus);
}

Connection::Loss Connection::loss_of(const Task& task, const OpenFault& fault) const {
  const bool explicit_reply = fault.kind == OpenFault::Kind::closes;
  if (where() == Stage::dot && !explicit_reply) return Loss::uncertain;
  const bool unanswered =
      conversation_ && conversation_->stage() == Stage::mail && !conversation_->mail_refused();
  const bool first_loss = task.reconnected == Task::Reconnected::no;
  if (messages_ > 0 && unanswered && fault.stage != Stage::auth && first_loss) return Loss::stale;
  return Loss::not_sent;
}

void Connection::tell_loss(Task task, Loss loss, const OpenFault& fault) {
  switch (loss) {
    case Loss::uncertain:
      return setting_.sink.report(core::JobUncertain{task.job.key, fault.reason});
    case Loss::stale:
      task.reconnected = Task::Reconnected::yes;
      return owner_.on_give_back(std::move(task));
    case Loss::not_sent:
      return setting_.sink.report(core::JobNotSent{task.job.key, fault.stage, fault.reason, fault.reply});
  }
}

void Connection::lose(OpenFault fault) {
  if (state_ == State::over) return;
  fault.reason = channel::printable(fault.reason);
  const bool closes = fault.kind == OpenFault::Kind::closes;
  const bool at_work = state_ == State::busy && (task_ || closes);
  std::optional<Task> task = std::exchange(task_, std::nullopt);
  const Loss loss = task ? loss_of(*task, fault) : Loss::not_sent;
  const bool blameless = !at_work || fault.kind == OpenFault::Kind::canceled || loss == Loss::stale;
  // What this says of the relay comes first: where the message goes next depends on it.
  over({blameless ? ConnectionEnd::Kind::finished : ConnectionEnd::Kind::lost, fault});
  if (task) tell_loss(std::move(*task), loss, fault);
}

void Connection::over(ConnectionEnd end) {
  if (state_ == State::over) return;
  state_ = State::over;
  phase_timer_.stop();
  before_dot_.stop();
  if (stream_) stream_->close();
  end_engine();
  owner_.on_over(*this, end);
}

}  // namespace mailotp::mail
