// The thread that speaks IMAP: connects, visits the mailbox, reports each failure, and tries again after a
// pause that grows. A refused password is not tried again before another one comes or refused_pause is over.
#pragma once

#include <optional>
#include <thread>

#include "core/mailbox.h"
#include "mail/imap/mailbox_session.h"
#include "mail/imap/name_lookup.h"
#include "mail/imap/reader_port.h"
#include "mail/imap/trouble.h"

namespace mailotp::mail {

class SessionThread {
 public:
  // `port` and `ended` outlive it; `ended` gets one value when the thread is about to end.
  SessionThread(core::MailboxHello hello, SessionPort& port, WakeQueue<int>& ended);
  // Waits for the thread, which ends after port.stop was raised.
  ~SessionThread();
  SessionThread(const SessionThread&) = delete;
  SessionThread& operator=(const SessionThread&) = delete;

 private:
  void run();
  [[nodiscard]] Tried<> visit();
  void pause(const Trouble& trouble);
  void take_password(core::Secret password);

  core::MailboxHello hello_;
  SessionPort& port_;
  WakeQueue<int>& ended_;
  NameLookup names_;
  VisitMemory memory_;
  core::Millis backoff_;
  bool password_changed_ = false;  // since the last visit began
  std::thread thread_;
};

}  // namespace mailotp::mail
