// One relay of the agent, whatever its kind. All calls and all reports happen on the agent's loop thread.
#pragma once

#include <cstdint>
#include <functional>

#include "core/delivery.h"

namespace mailotp::mail {

// Where facts go: to the daemon, in the order in which they are reported.
class FactSink {
 public:
  virtual ~FactSink() = default;
  virtual void report(core::Fact fact) = 0;
};

class Relay {
 public:
  virtual ~Relay() = default;
  // Takes the job; exactly one of JobRelayed, JobRefused, JobNotSent, JobUncertain is reported for it later,
  // and JobDotNext before the final dot can reach the kernel.
  virtual void submit(core::Job job) = 0;
  // Best effort; the job's final fact still comes.
  virtual void cancel(const core::AttemptKey& key) = 0;
  virtual void set_password(core::Secret password) = 0;
  // Reports TestSteps and one TestDone; sends no mail.
  virtual void test(std::uint32_t test) = 0;
  // No more jobs come. Before the dot sessions are cut at once (not_sent), after it they have `grace`; then
  // `done` is called.
  virtual void drain(core::Millis grace, std::function<void()> done) = 0;
};

}  // namespace mailotp::mail
