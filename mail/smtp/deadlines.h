// How long things may take in the agent: what the daemon's hello says, and what needs no setting.
#pragma once

#include "core/delivery.h"
#include "core/time.h"

namespace mailotp::mail {

struct Deadlines : core::SessionLimits {
  core::Millis dns{5'000};
  core::Millis stagger{250};      // between two addresses of one relay (RFC 8305 section 5)
  core::Millis dot_least{2'000};  // for the dot's reply, however little time is left
  core::Millis quit{2'000};
  core::Millis surplus{1'000};        // an idle connection beside another one
  core::Millis auth_refused{60'000};  // no new connection for this long, unless the password changes
  core::Millis address_memory{3'600'000};
};

}  // namespace mailotp::mail
