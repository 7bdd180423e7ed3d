// How long each phase of an SMTP session may take: wall clock of the whole phase, not of one read. A job's
// time left clamps every phase before the dot.
#pragma once

#include "core/time.h"

namespace mailotp::mail {

struct Deadlines {
  core::Millis dns{5'000};
  core::Millis connect{4'000};
  core::Millis stagger{250};  // between two addresses of one relay (RFC 8305 section 5)
  core::Millis tls{8'000};
  core::Millis greeting{8'000};
  core::Millis ehlo{5'000};
  core::Millis starttls{8'000};
  core::Millis auth{8'000};
  core::Millis mail{5'000};
  core::Millis rcpt{10'000};
  core::Millis data{8'000};
  core::Millis before_dot{20'000};  // from submit() to the dot, waiting for a connection included
  core::Millis dot{60'000};
  core::Millis dot_least{2'000};  // for the dot's reply, however little time is left
  core::Millis quit{2'000};
  core::Millis idle{30'000};          // a warm connection without work
  core::Millis session{300'000};      // a connection is replaced after this …
  int session_messages = 500;         // … or after this many messages
  core::Millis auth_refused{60'000};  // no new connection for this long, unless the password changes
  core::Millis address_memory{3'600'000};
};

}  // namespace mailotp::mail
