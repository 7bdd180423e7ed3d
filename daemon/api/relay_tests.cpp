#include "daemon/api/relay_tests.h"

#include <utility>

#include "daemon/api/answers.h"
#include "daemon/api/views.h"

namespace mailotp::daemon {

RelayTests::RelayTests(std::function<void(core::TestRelay)> ask) : ask_(std::move(ask)) {}

void RelayTests::start(const std::string& relay, Responder responder) {
  const std::uint32_t number = next_++;
  running_.emplace(number, Running{relay, std::move(responder), {}});
  ask_(core::TestRelay{number, relay});
}

void RelayTests::on_step(const core::TestStep& step) {
  if (const auto at = running_.find(step.test); at != running_.end()) at->second.steps.push_back(step);
}

void RelayTests::on_done(const core::TestDone& done) {
  const auto at = running_.find(done.test);
  if (at == running_.end()) return;
  Running test = std::move(at->second);
  running_.erase(at);
  test.responder.respond(ok_json(relay_test_json(test.relay, done.ok, test.steps)));
}

}  // namespace mailotp::daemon
