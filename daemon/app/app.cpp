#include "daemon/app/app.h"

#include <cstdlib>
#include <utility>

#include <fmt/format.h>
#include <signal.h>
#include <uv.h>

#include "daemon/app/parts.h"
#include "daemon/app/senders.h"
#include "daemon/app/sockets.h"

namespace mailotp::daemon {

namespace {

constexpr core::Millis k_dot_grace{5000};     // for sends that are past the dot
constexpr core::Millis k_drain_limit{10000};  // for everything
// What the store may take for its last commit, before systemd kills us. It is asked for again while the store
// is busy: after an erasure it writes the whole database anew.
constexpr core::Millis k_close_limit{20000};
constexpr core::Millis k_ask_again{5000};
constexpr core::Millis k_close_at_most{900'000};

}  // namespace

App::App(LoadedConfig loaded, core::Log& log) : parts_(std::make_unique<Parts>(std::move(loaded), log)) {}

App::~App() = default;

// Keys, tokens and templates, and the configuration with them.
tl::expected<NamedKeys, StartFailure> App::Parts::make_in_force() {
  const auto failed = [](const core::Error& error) {
    return tl::unexpected(StartFailure{ExitCode::bad_configuration, error.what});
  };
  auto keys = load_named_keys(loaded);
  if (!keys) return failed(keys.error());
  auto made = mail::KeyedTokens::create(keys->ring.token_keys());
  if (!made) return failed(made.error());
  tokens.emplace(std::move(*made));
  auto recipients = LogRecipients::create(keys->ring.log_key(), loaded.config.daemon.log_level);
  if (!recipients) return failed(recipients.error());
  log_recipients.emplace(std::move(*recipients));
  auto configured = make_configured(loaded, *tokens);
  if (!configured) return failed(configured.error());
  in_force.emplace(std::move(*configured));
  return std::move(*keys);
}

tl::expected<void, StartFailure> App::start() {
  Parts& p = *parts_;
  auto keys = p.make_in_force();
  if (!keys) return tl::unexpected(keys.error());
  const core::Config& config = p.loaded.config;
  p.health.emplace(config);
  p.tally.emplace(config.relays);
  p.board.emplace(&p.loop.loop, config, *p.health, p.random, p.log);
  p.delivery.emplace(*p.in_force, *p.health, *p.tally, p.log,
                     [] { std::_Exit(static_cast<int>(ExitCode::store_failed)); });
  const std::vector<store::KeyId> key_ids = keys->ring.ids();
  if (auto opened = p.open_store(std::move(keys->ring)); !opened) return opened;
  p.connect(key_ids);
  auto listening = open_sockets(config, {*p.apps_server, *p.admin_server, *p.metrics_server});
  if (!listening) {
    p.finish();
    (void)uv_run(&p.loop.loop, UV_RUN_DEFAULT);  // until everything is closed
    // A socket of systemd's that the configuration knows nothing of is put right there.
    const bool is_ours = listening.error().code == core::Errc::invalid;
    return tl::unexpected(StartFailure{is_ours ? ExitCode::bad_configuration : ExitCode::socket_in_use,
                                       listening.error().what});
  }
  p.reload->passed(std::move(*listening));
  p.terminate.emplace(&p.loop.loop, SIGTERM, [&p] { p.drain(); });
  p.interrupt.emplace(&p.loop.loop, SIGINT, [&p] { p.drain(); });
  p.hang_up.emplace(&p.loop.loop, SIGHUP, [&p] {
    p.reload->run([](const auto&) {});  // it is in the log
  });
  p.drain_limit.emplace(&p.loop.loop, [&p] { p.stop_now(); });
  p.closing.emplace(&p.loop.loop, [&p] { p.ask_for_time(); });
  p.notices.emplace(&p.loop.loop, ServiceNotices::manager_of_environment(), p.log);
  p.agent->start();
  if (p.mailbox) p.mailbox->start();
  p.passwords->start();
  p.announce();
  return {};
}

void App::Parts::announce() {
  const core::Config& config = loaded.config;
  if (config.daemon.mode == core::Mode::development)
    log.write(core::LogLevel::warning,
              fmt::format("event=development_mode reason=\"no mail leaves this machine\" maildir={}",
                          config.relays.front().directory));
  if (config.daemon.log_level == core::LogLevel::debug)
    log.write(core::LogLevel::warning,
              "event=log_in_full reason=\"log_level is debug: recipients are in the log\"");
  log.write(core::LogLevel::notice, fmt::format("event=started version={} api={} admin={}", MAILOTP_VERSION,
                                                config.daemon.api_socket, config.daemon.admin_socket));
  notices->ready(watched_parts());
}

// The reader is not among them: it may take long over one piece of work.
std::vector<WatchedPart> App::Parts::watched_parts() const {
  std::vector<WatchedPart> parts;
  parts.push_back({"store", [this] { return std::optional(store->signs_of_life()); }});
  parts.push_back({"mailotp-smtp", [this] { return agent->signs_of_life(); }});
  if (mailbox) parts.push_back({"mailotp-imap", [this] { return mailbox->signs_of_life(); }});
  return parts;
}

void App::Parts::drain() {
  if (std::exchange(draining, true)) return stop_now();
  log.write(core::LogLevel::notice, "event=stopping");
  notices->stopping(k_drain_limit + k_close_limit);
  drain_limit->start(k_drain_limit);
  to_drain = mailbox ? 5 : 4;
  passwords->stop();
  delivery->stop_claiming();
  waits->finish();
  events->finish();
  backups->finish();  // before the servers drain: they would end its answer well
  reload->stop();
  for (HttpServer* server : servers())
    server->drain([this] { drained_one(); });
  agent->drain(k_dot_grace, [this] { drained_one(); });
  if (mailbox_watch) mailbox_watch->stop();
  if (mailbox) mailbox->drain(k_move_grace, [this] { drained_one(); });
}

void App::Parts::drained_one() {
  if (--to_drain == 0) finish();
}

// What is left in the agent's hands is uncertain at the next start: that is the price of a second signal.
void App::Parts::stop_now() {
  if (to_drain <= 0) return;
  log.write(core::LogLevel::warning, "event=stopping_at_once");
  to_drain = 0;
  const auto gone = [this, left = std::make_shared<int>(mailbox ? 2 : 1)] {
    if (--*left == 0) finish();
  };
  agent->stop_now(gone);
  if (mailbox) mailbox->stop_now(gone);
}

// Every fact has arrived: the store writes the last of them and closes.
void App::Parts::finish() {
  if (draining) ask_for_time();
  snapshots->stop();
  store->stop([this] {
    if (closing) closing->stop();
    reader->stop();
    const auto closed = [this, left = std::make_shared<int>(3)] {
      if (--*left == 0) uv_stop(&loop.loop);
    };
    for (HttpServer* server : servers())
      server->close(closed);
  });
}

void App::Parts::ask_for_time() {
  notices->stopping(k_close_limit);
  closing_for += k_ask_again;
  if (closing_for < k_close_at_most) closing->start(k_ask_again);
}

ExitCode App::run() {
  (void)uv_run(&parts_->loop.loop, UV_RUN_DEFAULT);
  parts_->log.write(core::LogLevel::notice, "event=stopped");
  // The store is closed, and nobody is left to wait for a directory that does not answer.
  if (parts_->reload->is_reading()) std::_Exit(static_cast<int>(ExitCode::ok));
  return ExitCode::ok;
}

}  // namespace mailotp::daemon
