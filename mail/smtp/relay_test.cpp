#include "mail/smtp/relay_test.h"

#include <utility>

namespace mailotp::mail {

void RelayTest::run(uv_loop_t* loop, const core::RelaySettings& settings, const std::string& hostname,
                    Resolver& resolver, const Deadlines& deadlines) {
  OpenerListener& listener = *this;
  opener_.emplace(loop, settings, hostname, resolver, deadlines, listener);
  opener_->open();
}

void RelayTest::cut(const std::string& why) {
  if (finished_) return;
  on_open_failed({core::Stage::local, why, std::nullopt, OpenFault::Kind::canceled});
}

void RelayTest::on_opened(Opened opened) {
  if (!opened.authenticated) on_open_step(core::Stage::auth, "not configured");
  opened_ = std::move(opened);
  opened_.stream->write("QUIT\r\n");
  opened_.stream->close();
  finish(nullptr);
}

void RelayTest::on_open_failed(const OpenFault& fault) {
  sink_.report(core::TestStep{test_, fault.stage, false, fault.reason});
  finish(&fault);
}

void RelayTest::on_open_step(core::Stage stage, const std::string& saw) {
  sink_.report(core::TestStep{test_, stage, true, saw});
}

void RelayTest::finish(const OpenFault* fault) {
  if (std::exchange(finished_, true)) return;
  const bool ok = fault == nullptr;
  sink_.report(core::TestDone{test_, ok, ok ? core::RelayTrouble::ordinary : trouble_of(*fault)});
  over_(*this, ok);
}

}  // namespace mailotp::mail
