// The IMAP agent: what it reports of the bounce mailbox, and what it is told. Loop thread only.
//
//   connecting ─MailboxOpened─► opened ─resume()─► reading ─MailNext─► (one mail) ─MailRead─► reading
//        ▲                         └──────────────────┴── MailboxFact down, another MailboxOpened ─┘
//
// What it says is taken as hostile: bounded, in its form, and only what its state allows. Mails and moves
// count in `reading` and with the uidvalidity in force; a MailRead only for the mail that MailNext named; no
// more than k_undecided at once wait for their decision. Anything else is dropped, and what breaks the
// protocol ends the agent. The password goes through here and never into a log. Its life is
// daemon/agents/agent_life.h.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include <uv.h>

#include "core/log.h"
#include "core/mailbox.h"
#include "daemon/agents/agent_life.h"

namespace mailotp::daemon {

// Called on the loop thread. It may call the supervisor back, but not destroy it.
class MailboxListener {
 public:
  virtual ~MailboxListener() = default;
  virtual void on_mailbox_ready(const core::AgentReady& ready) = 0;
  // MailboxFact, MailboxOpened, MailRead, MailMoved.
  virtual void on_mailbox_event(core::MailboxEvent event) = 0;
  // An agent that was ready is gone. `reading`: the mail that it had begun with; it may be why.
  virtual void on_mailbox_lost(std::optional<core::MailUid> reading) = 0;
};

class MailboxSupervisor final : private AgentLife::Owner {
 public:
  // Mails that are read and not decided. The agent stops long before: these are the memory that it may cost.
  static constexpr std::size_t k_undecided = 512;

  // `make_hello` is called for each agent that is started, so it may read the password anew. All references
  // and the loop outlive the supervisor.
  MailboxSupervisor(uv_loop_t* loop, AgentOptions options, std::function<core::MailboxHello()> make_hello,
                    MailboxListener& listener, core::Log& log);
  // While stopped; the loop must run once more before it is closed.
  ~MailboxSupervisor() override;
  MailboxSupervisor(const MailboxSupervisor&) = delete;
  MailboxSupervisor& operator=(const MailboxSupervisor&) = delete;

  // While stopped.
  void start() { life_.start(); }
  [[nodiscard]] bool ready() const { return life_.ready(); }
  [[nodiscard]] std::uint64_t restarts() const { return life_.restarts(); }
  [[nodiscard]] std::optional<std::uint64_t> signs_of_life() const { return life_.signs_of_life(); }

  // Answers MailboxOpened. Dropped when what it answers is over: the agent is another one, or has opened the
  // mailbox again since with another uidvalidity.
  void resume(core::MailboxResume order);
  // Dropped when nobody waits for it: the mailbox has been opened anew, and what is to be moved came with
  // resume().
  void decide(const core::MailDecided& decision);
  // What else is to be moved, decided before.
  void move(const core::MailDecided& decision);
  // A new password is dropped without an agent: the next hello brings it.
  void set_password(core::Secret password);

  // As AgentLife has it.
  void renew(core::Millis grace);
  // As AgentSupervisor has them.
  void drain(core::Millis grace, std::function<void()> done);
  void stop_now(std::function<void()> done);

 private:
  enum class Session : std::uint8_t { connecting, opened, reading };

  [[nodiscard]] core::Result<core::Secret> hello_frame() override;
  void on_frame(std::string_view frame) override;
  [[nodiscard]] std::string what_it_held() const override;
  void on_gone(Was was) override;

  void take_event(core::MailboxEvent event);
  // Each says whether the event is to be handed on.
  [[nodiscard]] bool take(const core::MailboxFact& fact);
  [[nodiscard]] bool take(const core::MailboxOpened& opened);
  [[nodiscard]] bool take(const core::MailNext& next);
  [[nodiscard]] bool take(const core::MailRead& read);
  [[nodiscard]] bool take(const core::MailMoved& moved);
  [[nodiscard]] bool take(const core::AgentReady& ready);
  [[nodiscard]] bool take(const core::AgentLog& line);
  [[nodiscard]] bool is_in_force(std::uint32_t uidvalidity);
  void send(const core::MailboxOrder& order, std::string_view name);

  std::function<core::MailboxHello()> make_hello_;
  MailboxListener& listener_;

  // Of the agent that runs.
  Session session_ = Session::connecting;
  std::uint32_t uidvalidity_ = 0;      // since `opened`
  std::optional<core::MailUid> next_;  // begun, and not read yet
  std::set<core::MailUid> undecided_;  // read

  AgentLife life_;
};

}  // namespace mailotp::daemon
