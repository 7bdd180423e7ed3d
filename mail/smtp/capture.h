// The relay of kind `capture`: a maildir in place of a network (development mode). Each mail becomes one file
// in new/ with exactly the bytes that a relay would have got; nothing is prepended. The "dot" is the rename.
// Files are written in libuv's pool; everything else happens on the loop thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <uv.h>

#include "core/delivery.h"
#include "mail/agent/loop_handles.h"
#include "mail/smtp/capture_maildir.h"
#include "mail/smtp/relay.h"

namespace mailotp::mail {

class CaptureRelay final : public Relay {
 public:
  // `folder`: absolute, a maildir that the daemon has made. Looks whether it can be written and reports that
  // as its first RelayFact. `loop` and `facts` outlive the relay.
  CaptureRelay(std::string name, std::string folder, std::string hostname, uv_loop_t* loop, FactSink& facts);
  // Only after drain() has called `done`: the pool may work for this object until then.
  ~CaptureRelay() override;
  CaptureRelay(const CaptureRelay&) = delete;
  CaptureRelay& operator=(const CaptureRelay&) = delete;

  void submit(core::Job job) override;
  void cancel(const core::AttemptKey& key) override;
  void set_password(core::Secret password) override;
  void test(std::uint32_t test) override;
  // A rename cannot be given up half-way, so `grace` has no use: `done` comes when the disk has answered.
  void drain(core::Millis grace, std::function<void()> done) override;

 private:
  struct Letter;

  void written(Letter& letter);
  void published(Letter& letter);
  void give_up(Letter& letter, const char* reason);
  void end(Letter& letter, core::Fact fact);
  void probe(std::optional<std::uint32_t> test);
  void probed(std::optional<std::uint32_t> test, const core::Result<>& outcome);
  void note(const core::Result<>& outcome);
  void end_drain_if_idle();
  void in_pool(std::function<void()> work, std::function<void()> after);

  std::string name_;
  CaptureMaildir maildir_;
  std::string hostname_;
  uv_loop_t* loop_;
  FactSink& facts_;
  Timer probe_again_;
  std::optional<core::RelayCondition> reported_;
  std::vector<std::unique_ptr<Letter>> letters_;
  std::size_t probes_ = 0;  // in the pool
  std::uint64_t probe_name_ = 0;
  std::function<void()> drained_;  // set: draining
};

}  // namespace mailotp::mail
