#include "mail/imap/session_thread.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <random>
#include <utility>

#include <pthread.h>

#include "mail/agent/boot_clock.h"
#include "mail/imap/imap_client.h"
#include "mail/imap/mailbox_session.h"
#include "mail/imap/opening.h"

namespace mailotp::mail {
namespace {

constexpr core::Millis k_farewell{1'000};

// Between half of it and all of it, so that agents which lost one server do not come back together.
core::Millis jittered(core::Millis pause) {
  std::random_device device;
  const core::Millis::rep half = std::max<core::Millis::rep>(pause.count() / 2, 1);
  return core::Millis{half + static_cast<core::Millis::rep>(device()) % half};
}

}  // namespace

SessionThread::SessionThread(core::MailboxHello hello, SessionPort& port, WakeQueue<int>& ended)
    : hello_(std::move(hello)),
      port_(port),
      ended_(ended),
      names_(hello_.mailbox.host, hello_.mailbox.port),
      backoff_(hello_.limits.backoff_first) {
  thread_ = std::thread([this] {
    (void)::pthread_setname_np(::pthread_self(), "imap-session");
    try {
      run();
    } catch (const std::exception& error) {
      (void)std::fprintf(stderr, "event=agent_failed program=mailotp-imap error=\"%s\"\n", error.what());
      std::abort();
    }
    ended_.put(0);
  });
}

SessionThread::~SessionThread() {
  thread_.join();
}

void SessionThread::run() {
  while (!port_.stop.until()) {
    password_changed_ = false;
    const auto visited = visit();
    if (port_.stop.until()) return;
    Trouble why{"idle", "the connection ended", core::RelayTrouble::ordinary};
    if (!visited) why = visited.error();
    port_.events.report(core::MailboxFact{false, why.step, why.reason, why.kind});
    pause(why);
  }
}

Tried<> SessionThread::visit() {
  auto wire = open_wire(hello_.mailbox, hello_.limits, names_, port_.stop);
  if (!wire) return tl::unexpected(std::move(wire.error()));
  auto client = ImapClient::make(std::move(*wire), hello_.limits);
  if (!client) return trouble("greeting", client.error());
  MailboxSession session(**client, hello_.mailbox, hello_.limits, port_, memory_);
  auto done = session.run();
  if (session.was_up()) backoff_ = hello_.limits.backoff_first;
  if (done) (*client)->logout(k_farewell);
  if (session.new_password()) take_password(std::move(*session.new_password()));
  return done;
}

void SessionThread::take_password(core::Secret password) {
  if (password.reveal() != hello_.mailbox.password.reveal()) password_changed_ = true;
  hello_.mailbox.password = std::move(password);
}

void SessionThread::pause(const Trouble& trouble) {
  const bool refused = trouble.kind == core::RelayTrouble::auth_refused;
  const core::Millis length = refused ? hello_.limits.refused_pause : jittered(backoff_);
  if (!refused) backoff_ = std::min(backoff_ * 2, hello_.limits.backoff_most);
  const core::Millis end = since_boot() + length;
  while (!port_.stop.until()) {
    // Answers to what the last visit has said mean nothing now: the next one begins with MailboxOpened.
    for (SessionOrder& order : port_.orders.take())
      if (auto* password = std::get_if<core::SetMailboxPassword>(&order))
        take_password(std::move(password->password));
    const core::Millis left = end - since_boot();
    if (left.count() <= 0 || (refused && password_changed_)) return;
    wait_readable(port_.orders.descriptor(), port_.stop.descriptor(), left);
  }
}

}  // namespace mailotp::mail
