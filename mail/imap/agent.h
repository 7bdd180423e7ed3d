// The agent's side of its channel: hands orders to the session thread and reports what that says, in its
// order. A loop and a thread of its own; the loop runs dry when the agent has ended: after a Drain, or after
// the daemon has gone or has sent nonsense. A session that does not end in time is left: the process ends as
// it is, and nothing is lost by that.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include <uv.h>

#include "core/mailbox.h"
#include "core/result.h"
#include "mail/agent/loop_handles.h"
#include "mail/channel/frame_socket.h"
#include "mail/imap/reader_port.h"
#include "mail/imap/session_thread.h"

namespace mailotp::mail {

class ImapAgent final : private EventSink {
 public:
  static constexpr core::Millis k_leave{250};  // for the session to end, when nobody listens any more …
  static constexpr core::Millis k_slack{250};  // … or behind the grace of a Drain
  static constexpr int k_exit_left_open = 6;   // … and it did not

  // Answers the hello and starts the session thread. `channel` may hold orders that came with the hello.
  ImapAgent(uv_loop_t* loop, std::unique_ptr<channel::FrameSocket> channel, core::MailboxHello hello,
            core::Confinement confinement);
  // After the loop has run dry.
  ~ImapAgent() override;
  ImapAgent(const ImapAgent&) = delete;
  ImapAgent& operator=(const ImapAgent&) = delete;

  // Why it ended, after the loop has run dry: nullopt for a Drain or the end of the channel.
  [[nodiscard]] const std::optional<core::Error>& fault() const { return fault_; }

 private:
  // On the session thread.
  void report(core::MailboxEvent event) override;
  // On the loop.
  void on_channel(int events);
  void on_events();
  void on_ended();
  void take_orders();
  void obey(std::string_view frame);
  void obey(core::MailboxOrder order);
  void stop(core::Millis grace, core::Millis slack);
  void daemon_gone(std::optional<core::Error> fault);
  void watch();
  void end();

  std::unique_ptr<channel::FrameSocket> channel_;
  WakeQueue<std::string> events_;  // frames
  WakeQueue<int> ended_;
  SessionPort port_;
  std::optional<Poll> channel_poll_;
  std::optional<Poll> events_poll_;
  std::optional<Poll> ended_poll_;
  std::optional<Timer> leave_;
  std::optional<core::Error> fault_;
  bool gone_ = false;  // the daemon
  bool stopped_ = false;

  // How far the channel is: MailNext waits until its frame is with the kernel.
  std::mutex mutex_;
  std::condition_variable written_;
  std::uint64_t put_ = 0;   // frames of the session
  std::uint64_t sent_ = 0;  // … with the kernel

  std::optional<SessionThread> session_;  // the last: it uses what is above
};

}  // namespace mailotp::mail
