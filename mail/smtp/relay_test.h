// `relay test`: opens a connection as for a mail and tells what each step saw; sends no mail.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "mail/smtp/opener.h"
#include "mail/smtp/relay.h"

namespace mailotp::mail {

class RelayTest final : private OpenerListener {
 public:
  // `over` is called once, after TestDone, with whether it succeeded; it may not destroy the test.
  RelayTest(std::uint32_t test, FactSink& sink, std::function<void(RelayTest&, bool ok)> over)
      : test_(test), sink_(sink), over_(std::move(over)) {}

  void run(uv_loop_t* loop, const core::RelaySettings& settings, const std::string& hostname,
           Resolver& resolver, const Deadlines& deadlines);
  // Ends it as failed.
  void cut(const std::string& why);

 private:
  void on_opened(Opened opened) override;
  void on_open_failed(const OpenFault& fault) override;
  void on_open_step(core::Stage stage, const std::string& saw) override;
  void finish(const OpenFault* fault);

  std::uint32_t test_;
  FactSink& sink_;
  std::function<void(RelayTest&, bool ok)> over_;
  std::optional<Opener> opener_;
  Opened opened_;  // kept, since its stream is on the stack when it arrives
  bool finished_ = false;
};

}  // namespace mailotp::mail
