// Tests of relays that operators ask for: DNS, TCP, TLS, AUTH, without a mail. The agent does them and
// reports its steps; the answer leaves with the last one. Loop thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/delivery.h"
#include "daemon/http/server.h"

namespace mailotp::daemon {

class RelayTests {
 public:
  // `ask` hands the order to the agent, which answers every test with TestDone, also when it dies.
  explicit RelayTests(std::function<void(core::TestRelay)> ask);

  void start(const std::string& relay, Responder responder);
  void on_step(const core::TestStep& step);
  void on_done(const core::TestDone& done);

 private:
  struct Running {
    std::string relay;
    Responder responder;
    std::vector<core::TestStep> steps;
  };
  std::function<void(core::TestRelay)> ask_;
  std::uint32_t next_ = 1;
  std::map<std::uint32_t, Running> running_;
};

}  // namespace mailotp::daemon
