// One connection to a relay with the libesmtp session that uses it: opened once, warm between its messages,
// given up after a fault, a while without work, its age or its count of messages.
//
//   opening ─► idle ◄─► busy ─► quitting (or waiting for a late reply to the dot) ─► over
//      └─────────┴────────┴────────────────► over (a fault, a hang-up, cut())
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/delivery.h"
#include "mail/smtp/conversation.h"
#include "mail/smtp/deadlines.h"
#include "mail/smtp/engine.h"
#include "mail/smtp/opener.h"
#include "mail/smtp/relay.h"

namespace mailotp::mail {

// A job in the agent, with its times on the loop's clock (uv_now, ms).
struct Task {
  core::Job job;
  std::uint64_t dot_before = 0;           // its dot is not sent after this
  core::Millis dot_before_since_boot{0};  // nor after this, by since_boot(): timers miss a suspend
  std::uint64_t not_after = 0;
  enum class Reconnected : std::uint8_t { no, yes } reconnected = Reconnected::no;
};

struct ConnectionEnd {
  enum class Kind : std::uint8_t {
    finished,     // with our consent, or without work
    open_failed,  // it never was ready
    lost,         // broken in a transaction
  } kind = Kind::finished;
  OpenFault fault;  // unless finished
};

class Connection;

// Called on the loop thread; may not destroy the connection.
class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;
  // Ready for a message: for the first time, or after one.
  virtual void on_ready(Connection& connection) = 0;
  // A warm connection was dead before it answered the MAIL of this task: it costs nothing to try once more.
  virtual void on_give_back(Task task) = 0;
  // A reply to a dot is overdue; the connection takes no more work.
  virtual void on_overdue(const OpenFault& fault) = 0;
  // It has no task; the outcome of the one that it had is reported before or right after this.
  virtual void on_over(Connection& connection, const ConnectionEnd& end) = 0;
};

// What all connections of a relay share; outlives them.
struct ConnectionSetting {
  uv_loop_t* loop;
  const core::RelaySettings& relay;
  const std::string& hostname;
  unsigned dsn_notify;  // k_notify_…
  const Deadlines& deadlines;
  FactSink& sink;
};

class Connection final : private OpenerListener, private StreamListener, private ConversationPort {
 public:
  Connection(const ConnectionSetting& setting, Resolver& resolver, ConnectionOwner& owner);
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void open();
  enum class State : std::uint8_t { opening, idle, busy, quitting, over };
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool is_new() const { return messages_ == 0; }
  [[nodiscard]] const core::AttemptKey* key() const { return task_ ? &task_->job.key : nullptr; }

  // Reads what the relay may have said while nothing was asked; true: still idle.
  [[nodiscard]] bool still_idle();
  // Idle only. Reports every fact of the job; may stay idle (a mail that is too large for the relay).
  void start(Task task);
  // The job under way, if its dot is not sent yet, ends as not sent.
  void cancel(const std::string& why);
  [[nodiscard]] bool waits_for_late_reply() const { return state_ == State::quitting && late_since_; }
  void stop_waiting() { over({}); }

  // Idle only: it need not be kept for long, another one is.
  void is_surplus();
  // Takes no more work: quits, at once or after the dot's reply; before the dot the message is cut.
  void drain(const std::string& why);
  // At once; after the dot the message is uncertain.
  void cut(const std::string& why);

 private:
  void on_opened(Opened opened) override;
  void on_open_failed(const OpenFault& fault) override;

  void on_bytes(std::string_view bytes) override;
  void on_drained() override;
  void on_end(const std::string& reason) override;

  void to_relay(std::string_view bytes) override;
  void to_engine(std::string_view bytes) override;
  void end_of_body(std::string_view rest) override;
  void phase(core::Stage stage) override;
  void relayed(core::Reply reply) override;
  void refused(core::Stage stage, core::Reply reply) override;
  void idle() override;
  void broken(core::Stage stage, std::string reason, std::optional<core::Reply> reply) override;

  [[nodiscard]] bool run_engine();
  void end_engine();
  [[nodiscard]] OutgoingMessage outgoing(core::Job& job) const;
  void flush();
  void take_replies();
  void send_dot();
  void dot_left();
  void phase_ended();
  void become_idle();
  void quit();
  void wait_for_late_reply(const OpenFault& fault);
  void late_reply(const ReplyLines& lines);
  // What the loss of the connection means for its message; stale: it was dead before it was used.
  enum class Loss : std::uint8_t { uncertain, stale, not_sent };
  [[nodiscard]] Loss loss_of(const Task& task, const OpenFault& fault) const;
  void tell_loss(Task task, Loss loss, const OpenFault& fault);
  void lose(OpenFault fault);
  void over(ConnectionEnd end);
  [[nodiscard]] core::Stage where() const;

  const ConnectionSetting& setting_;
  ConnectionOwner& owner_;
  Opener opener_;
  State state_ = State::opening;
  Timer phase_timer_;  // of the phase, the idle time or QUIT
  Timer before_dot_;   // of everything before the dot
  std::unique_ptr<Stream> stream_;
  ReplyReader replies_;
  Capabilities capabilities_;
  bool authenticated_ = false;
  std::optional<Engine> engine_;
  std::optional<Conversation> conversation_;
  std::optional<Task> task_;
  // For the relay, gathered so that what libesmtp says at once leaves at once: two segments where one would
  // do cost 40 ms against a relay whose kernel waits for our delayed ACK.
  std::string out_;
  // One at a time: libesmtp is not run, and nothing written, while what came before is being handled.
  enum class Turn : std::uint8_t { none, under_way } turn_ = Turn::none;
  // queued: reported, and on its way to the kernel; left: the kernel has all of it.
  enum class Dot : std::uint8_t { none, waits, queued, left } dot_ = Dot::none;
  enum class Leaving : std::uint8_t { no, yes } leaving_ = Leaving::no;
  std::uint64_t phases_ = 0;  // begun so far
  std::uint64_t opened_at_ = 0;
  int messages_ = 0;             // transactions that came to their end here
  std::uint64_t sent_seen_ = 0;  // by the stream, when the body's progress was looked at last
  // The dot's reply did not come in time: how long it takes is worth knowing. Quitting only.
  std::optional<std::uint64_t> late_since_;
};

}  // namespace mailotp::mail
