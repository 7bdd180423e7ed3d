// getaddrinfo(3) with a deadline, for a thread that blocks. A query that does not end in time goes on in its
// own thread; until it ends, the next lookup waits for it, so there is never more than one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "mail/agent/endpoint.h"
#include "mail/imap/stop_signal.h"

namespace mailotp::mail {

class NameLookup {
 public:
  NameLookup(std::string host, std::uint16_t port) : host_(std::move(host)), port_(port) {}

  // Errc::unavailable: no such name, or no answer of a name server; Errc::timed_out.
  [[nodiscard]] core::Result<std::vector<Endpoint>> lookup(core::Millis time, const StopSignal& stop);

 private:
  struct Query;

  std::string host_;
  std::uint16_t port_;
  std::shared_ptr<Query> query_;  // the thread's too, for it may outlast us
};

}  // namespace mailotp::mail
