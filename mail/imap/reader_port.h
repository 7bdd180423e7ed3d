// The two ends that the session thread has of the loop thread's channel.
#pragma once

#include <variant>

#include "core/mailbox.h"
#include "mail/imap/stop_signal.h"
#include "mail/imap/wake_queue.h"

namespace mailotp::mail {

using SessionOrder = std::variant<core::MailboxResume, core::MailDecided, core::SetMailboxPassword>;

class EventSink {
 public:
  virtual ~EventSink() = default;
  // From the session thread. MailNext is with the daemon's kernel buffers when this returns: the mail may be
  // what kills this process.
  virtual void report(core::MailboxEvent event) = 0;
};

struct SessionPort {
  EventSink& events;
  WakeQueue<SessionOrder> orders;
  StopSignal stop;
};

}  // namespace mailotp::mail
