// One visit to the mailbox, from the login to the end of the connection: makes the folders, opens the
// mailbox, reads what is new, moves what was decided, and waits for more. Nothing is moved that the daemon
// has not decided, no flag of a mail that stays is changed, and no mail is fetched twice.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/mailbox.h"
#include "mail/imap/imap_client.h"
#include "mail/imap/reader_port.h"
#include "mail/imap/trouble.h"

namespace mailotp::mail {

// What the visits have in common.
struct VisitMemory {
  std::optional<core::Millis> swept;  // when old mails were last looked for: since_boot()
  core::MailUid failed;               // the last mail whose fetch has failed …
  int failures = 0;                   // … so many times in a row

  void forget_failure() {
    failed = {};
    failures = 0;
  }
};

class MailboxSession {
 public:
  static constexpr std::size_t k_undecided = 64;                // mails whose decision has not come
  static constexpr std::size_t k_batch = core::k_mails_a_fact;  // mails moved by one command
  static constexpr std::uint32_t k_window = 500;                // mails listed by one command

  static constexpr int k_failures = 2;  // then a mail waits for another one that can be fetched

  // `settings` has the password that is right now.
  MailboxSession(ImapClient& client, const core::MailboxSettings& settings, const core::MailboxLimits& limits,
                 SessionPort& port, VisitMemory& memory);

  // Until the stop signal (then it has no trouble) or the end of the connection.
  [[nodiscard]] Tried<> run();
  // MailboxFact up was reported: the connection has been of use.
  [[nodiscard]] bool was_up() const { return up_; }
  // A password that came meanwhile.
  [[nodiscard]] std::optional<core::Secret>& new_password() { return new_password_; }

 private:
  [[nodiscard]] Tried<> log_in();
  [[nodiscard]] Tried<> make_folders();
  [[nodiscard]] Tried<> select();
  [[nodiscard]] Tried<> open();
  [[nodiscard]] Tried<> wait_for_resume();
  void take_resume(core::MailboxResume resume);
  void take_orders();
  void take_decision(const core::MailDecided& decided);
  [[nodiscard]] Tried<> work();
  [[nodiscard]] Tried<> look();
  [[nodiscard]] core::Result<std::uint32_t> first_after(std::uint32_t uid);
  [[nodiscard]] Tried<> read_next();
  [[nodiscard]] bool is_suspect(const FetchedMail& mail) const;
  void note_failure(const FetchedMail& mail);
  void give_up(const FetchedMail& mail);
  [[nodiscard]] Tried<> rest();
  [[nodiscard]] bool poison_waits() const;
  [[nodiscard]] Tried<> move_batch();
  [[nodiscard]] core::Result<> move(const std::vector<std::uint32_t>& uids, const std::string& folder);
  [[nodiscard]] core::Result<> remove(const std::vector<std::uint32_t>& uids);
  [[nodiscard]] bool sweep_due() const;
  [[nodiscard]] Tried<> sweep();
  [[nodiscard]] core::Result<> sweep_processed();
  [[nodiscard]] bool stopping() const { return port_.stop.until().has_value(); }
  [[nodiscard]] bool replaced() const;

  ImapClient& client_;
  const core::MailboxSettings& settings_;
  const core::MailboxLimits& limits_;
  SessionPort& port_;
  VisitMemory& memory_;
  std::string mailbox_;  // names as the server has them
  std::string processed_;
  std::string unrecognised_;
  bool up_ = false;
  std::optional<core::Secret> new_password_;
  std::optional<core::MailboxResume> resume_;

  std::uint32_t uidvalidity_ = 0;
  std::uint32_t last_uid_ = 0;  // mails up to here were read, or need not be
  std::deque<FetchedMail> listed_;
  std::optional<FetchedMail> aside_;  // cannot be fetched, or the server had a bad time
  bool server_gives_ = false;         // another mail, while one was set aside
  std::set<std::uint32_t> undecided_;
  std::map<std::uint32_t, core::MailFate> to_move_;
  std::set<std::uint32_t> poison_;   // never fetched
  std::set<std::uint32_t> flagged_;  // \Deleted by us, without UIDPLUS still there
  bool look_again_ = true;           // there may be mails after last_uid_
  core::Millis looked_{0};           // since_boot()
};

}  // namespace mailotp::mail
