// Between the store and the IMAP agent: what a mail of the bounce mailbox says becomes a command; only when
// that is committed is the agent told what becomes of the mail. So a crash at any moment loses no bounce and
// counts none twice: what is not decided is read again, and what is not moved is moved later.
//
// A mail that the agent died of twice is never fetched again. Loop thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/log.h"
#include "core/mailbox.h"
#include "core/store.h"
#include "daemon/agents/mailbox_supervisor.h"
#include "daemon/api/health.h"
#include "daemon/state/store_thread.h"

namespace mailotp::daemon {

class MailboxWatch final : public MailboxListener {
 public:
  // What it acts on.
  struct Links {
    std::function<void(core::Command, StoreThread::Completion)> record;  // StoreThread::record()
    std::function<void(core::MailboxResume)> resume;                     // MailboxSupervisor's
    std::function<void(const core::MailDecided&)> decide;
    std::function<void(const core::MailDecided&)> move;
    std::function<void()> look_at_password;  // the login was refused
  };

  MailboxWatch(Health& health, core::Log& log) : health_(health), log_(log) {}
  // Before anything runs.
  void connect(Links links) { links_ = std::move(links); }

  // The agent is asked to end: its end is no news from here on.
  void stop() { stopping_ = true; }

  void on_mailbox_ready(const core::AgentReady& ready) override;
  void on_mailbox_event(core::MailboxEvent event) override;
  void on_mailbox_lost(std::optional<core::MailUid> reading) override;

 private:
  void take(const core::MailboxFact& fact);
  void take(const core::MailboxOpened& opened);
  void take(core::MailRead read);
  void take(core::MailMoved moved);

  void ask_state();
  void resume(const core::MailboxState& state);
  void decide(const core::MailUid& mail, const core::Outcome& outcome);
  void move_waiting();
  void note_death(const core::MailUid& mail);
  void note_down(const std::string& step, const std::string& reason, core::RelayTrouble trouble);
  void note_foreign(std::uint64_t count);

  Health& health_;
  core::Log& log_;
  Links links_;

  bool stopping_ = false;
  std::string last_;  // what was logged last of up and down

  // Of the mailbox as it was opened last.
  std::uint32_t uidvalidity_ = 0;
  std::uint64_t opening_ = 0;                   // grows each time it is opened
  bool asking_ = false;                         // the store, for what is known of it
  std::set<std::uint32_t> ordered_;             // moves that the agent has been told of
  std::deque<core::MailToMove> waiting_moves_;  // … and others, while it has many
  std::uint64_t foreign_ = 0;
  bool foreign_told_ = false;

  std::map<core::MailUid, int> deaths_;  // of the agent, while it read this one
  std::set<core::MailUid> poison_;
};

}  // namespace mailotp::daemon
