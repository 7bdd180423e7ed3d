#include "daemon/app/app.h"

#include <array>
#include <cstdlib>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "core/check.h"
#include "core/crash_point.h"
#include "daemon/agents/mailbox_supervisor.h"
#include "daemon/agents/supervisor.h"
#include "daemon/api/admin_api.h"
#include "daemon/api/apps.h"
#include "daemon/api/apps_api.h"
#include "daemon/api/event_streams.h"
#include "daemon/api/health.h"
#include "daemon/api/metrics_api.h"
#include "daemon/api/refusal_notes.h"
#include "daemon/api/relay_tests.h"
#include "daemon/api/router.h"
#include "daemon/api/services.h"
#include "daemon/api/shared_api.h"
#include "daemon/api/waits.h"
#include "daemon/app/bounce_log.h"
#include "daemon/app/current_tokens.h"
#include "daemon/app/delivery.h"
#include "daemon/app/kernel_random.h"
#include "daemon/app/log_recipients.h"
#include "daemon/app/mailbox_watch.h"
#include "daemon/app/password_watch.h"
#include "daemon/app/places.h"
#include "daemon/app/relay_board.h"
#include "daemon/app/reload.h"
#include "daemon/app/senders.h"
#include "daemon/app/service_notices.h"
#include "daemon/app/sockets.h"
#include "daemon/http/server.h"
#include "daemon/metrics/tally.h"
#include "daemon/state/clock.h"
#include "daemon/state/reader_thread.h"
#include "daemon/state/store_thread.h"
#include "mail/compose/composer.h"
#include "mail/compose/keyed_tokens.h"
#include "store/key_file.h"
#include "store/keys.h"
#include "store/sqlite_reader.h"
#include "store/sqlite_store.h"

namespace mailotp::daemon {

namespace {

constexpr core::Millis k_dot_grace{5000};     // for sends that are past the dot
constexpr core::Millis k_move_grace{2000};    // for mails that are being moved
constexpr core::Millis k_drain_limit{10000};  // for everything
constexpr core::Millis k_close_limit{
    20000};  // what the store may take for its last commit, before systemd kills us

// The loop and what must be closed before it ends.
struct Loop {
  Loop() { CHECK(uv_loop_init(&loop) == 0); }
  ~Loop() {
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);  // the close callbacks of what has been destroyed
    CHECK(uv_loop_close(&loop) == 0);
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  uv_loop_t loop{};
};

StartFailure store_failure(const core::Config& config, const core::Error& error) {
  ExitCode code = ExitCode::store_failed;
  if (error.code == core::Errc::busy) code = ExitCode::store_locked;
  // A key that the file lacks is put right by the operator, not by another start.
  if (error.code == core::Errc::invalid) code = ExitCode::bad_configuration;
  return {code, fmt::format("{}/mailotpd.db: {}", config.daemon.state_dir, error.what)};
}

tl::expected<store::KeyRing, StartFailure> load_keys(const core::Config& config) {
  const std::string path = key_place(config.daemon.key_file).path;
  if (::access(path.c_str(), F_OK) != 0) {
    return tl::unexpected(StartFailure{
        ExitCode::bad_configuration, fmt::format("there is no key file {}: `mailotpctl keygen {}` makes one",
                                                 path, config.daemon.key_file)});
  }
  const auto keys = store::load_key_file(path);
  if (!keys) return tl::unexpected(StartFailure{ExitCode::bad_configuration, keys.error().what});
  auto ring = store::KeyRing::create(*keys, path);
  if (!ring) return tl::unexpected(StartFailure{ExitCode::bad_configuration, ring.error().what});
  return std::move(*ring);
}

}  // namespace

struct App::Parts {
  Parts(LoadedConfig loaded, core::Log& log_)
      : config(std::move(loaded.config)),
        rules(std::move(loaded.rules)),
        config_path(std::move(loaded.path)),
        config_text(std::move(loaded.text)),
        log(log_) {}

  // Made first, gone last.
  core::Config config;
  core::AppRules rules;
  std::string config_path;
  std::string config_text;
  core::Log& log;
  KernelRandom random;
  core::IdSource ids{random};
  Loop loop;
  std::optional<CurrentTokens> tokens;
  std::optional<LogRecipients> log_recipients;
  std::optional<mail::MailComposer> composer;
  const core::WallTime started = wall_now();
  std::optional<Health> health;
  std::optional<Tally> tally;
  std::optional<RelayBoard> board;
  std::optional<Delivery> delivery;
  std::optional<StoreThread> store;
  std::optional<ReaderThread> reader;
  std::optional<Waits> waits;
  std::optional<EventStreams> events;
  std::optional<Reload> reload;
  std::optional<RelayTests> relay_tests;
  std::optional<RefusalNotes> refusals;
  std::optional<Apps> apps;
  std::optional<Services> services;
  Router apps_router;
  Router admin_router;
  Router metrics_router;
  std::optional<MetricsSources> metrics;
  std::optional<HttpServer> apps_server;
  std::optional<HttpServer> admin_server;
  std::optional<HttpServer> metrics_server;  // listens only where it is asked for
  std::optional<AgentSupervisor> agent;
  std::optional<BounceLog> bounce_log;
  // Only with [bounces].
  std::optional<MailboxWatch> mailbox_watch;
  std::optional<MailboxSupervisor> mailbox;
  std::optional<PasswordWatch> passwords;
  std::optional<SignalWatch> terminate;
  std::optional<SignalWatch> interrupt;
  std::optional<SignalWatch> hang_up;
  std::optional<Timer> drain_limit;
  std::optional<ServiceNotices> notices;

  std::vector<std::string> suspended;  // relays, from before the start
  bool draining = false;
  int to_drain = 0;

  core::Result<> follow_clock(store::SqliteStore& opened);
  tl::expected<void, StartFailure> open_store(store::KeyRing keys);
  void connect();
  void connect_api();
  void connect_metrics();
  [[nodiscard]] LoopFigures figures() const;
  [[nodiscard]] std::array<HttpServer*, 3> servers() {
    return {&*apps_server, &*admin_server, &*metrics_server};
  }
  HttpShares share_connections();
  void connect_relays();
  core::Hello hello();
  void connect_mailbox(const core::BouncesConfig& bounces);
  core::Secret password_or_none(const std::string& path, std::string_view whose);
  void obey(const core::SuspendRelay& order);
  void announce();
  [[nodiscard]] std::vector<WatchedPart> watched_parts() const;
  void drain();
  void drained_one();
  void stop_now();
  void finish();
};

App::App(LoadedConfig loaded, core::Log& log) : parts_(std::make_unique<Parts>(std::move(loaded), log)) {}

App::~App() = default;

// The clock may have been set while nobody ran.
core::Result<> App::Parts::follow_clock(store::SqliteStore& opened) {
  const auto saved = opened.saved_clock();
  if (!saved) return tl::unexpected(saved.error());
  core::ShiftClock shift{wall_now(), core::Millis{0}, {clock::boot_id(), clock::offset()}};
  if (*saved && !shift.clock.boot.empty() && (*saved)->boot == shift.clock.boot) {
    const core::Millis by = shift.clock.offset - (*saved)->offset;
    if (std::chrono::abs(by) > clock::k_step) shift.by = by;
  }
  if (shift.by.count() != 0)
    log.write(core::LogLevel::warning,
              fmt::format("event=clock_stepped by_seconds={}",
                          std::chrono::duration_cast<core::Seconds>(shift.by).count()));
  std::vector<core::Command> batch;
  batch.emplace_back(std::move(shift));
  const core::Committed done = opened.commit(batch, {}, wall_now());
  if (!done.outcomes.front()) return tl::unexpected(done.outcomes.front().error());
  return {};
}

tl::expected<void, StartFailure> App::Parts::open_store(store::KeyRing keys) {
  if (const auto made = make_directories(config); !made)
    return tl::unexpected(StartFailure{ExitCode::store_failed, made.error().what});
  store::StoreOptions options{.state_dir = config.daemon.state_dir,
                              .keys = std::move(keys),
                              .policy = config.delivery,
                              .return_path = config.mail.bounce_address.mailbox(),
                              .max_open_messages = config.intake.max_open_messages,
                              .composer = *composer,
                              .random = random,
                              .tokens = *tokens,
                              .min_free_disk = config.intake.min_free_disk,
                              .retention = config.retention,
                              .verp = config.mail.verp,
                              .verdicts = core::verdict_table(config.verdict),
                              .limits = core::limit_rules(config),
                              .brake = config.brake};
  if (config.bounces) options.foreign = config.bounces->foreign;
  auto opened = store::SqliteStore::open(std::move(options));
  if (!opened) return tl::unexpected(store_failure(config, opened.error()));
  if (auto shifted = follow_clock(**opened); !shifted)
    return tl::unexpected(store_failure(config, shifted.error()));
  const auto recovered = (*opened)->recover(wall_now());
  if (!recovered) return tl::unexpected(store_failure(config, recovered.error()));
  if (recovered->orphans > 0) {
    log.write(core::LogLevel::notice, fmt::format("event=recovered uncertain={} held={}",
                                                  recovered->orphans - recovered->held, recovered->held));
  }
  if (recovered->unreadable > 0) {
    log.write(core::LogLevel::error,
              fmt::format("event=rows_unreadable count={} reason=\"they are held\"", recovered->unreadable));
  }
  if (recovered->limits_anew)
    log.write(core::LogLevel::warning,
              "event=limits_anew reason=\"no key in the key file opens what they were counted under\"");
  auto reading = store::SqliteReader::open(config.daemon.state_dir, core::limit_rules(config));
  if (!reading) return tl::unexpected(store_failure(config, reading.error()));
  store.emplace(&loop.loop, std::move(*opened), *delivery, log);
  reader.emplace(&loop.loop, std::move(*reading));
  suspended = recovered->suspended;
  store->start(*recovered);
  return {};
}

// Without one the agent fails to log in, until the file can be read (PasswordWatch); all else goes on.
core::Secret App::Parts::password_or_none(const std::string& path, std::string_view whose) {
  auto password = read_password(path);
  if (password) return std::move(*password);
  log.write(core::LogLevel::error,
            fmt::format("event=password_unreadable {} what=\"{}\"", whose, password.error().what));
  return {};
}

core::Hello App::Parts::hello() {
  core::Hello hello;
  hello.hostname = config.mail.hostname;
  hello.dsn_notify = config.mail.dsn;
  hello.limits = config.session;
  for (const core::RelayConfig& relay : config.relays) {
    core::RelaySettings settings = settings_of(relay);
    if (authenticates(relay))
      settings.password = password_or_none(password_file_of(relay), "relay=" + relay.name);
    hello.relays.push_back(std::move(settings));
  }
  return hello;
}

// Who resumes a relay has put right what was wrong: the agent is to forget that AUTH was refused, too.
void App::Parts::obey(const core::SuspendRelay& order) {
  board->suspend(order.relay, order.suspended);
  if (!order.suspended) passwords->read_again("relay=" + order.relay);
}

void App::Parts::connect() {
  connect_api();
  passwords.emplace(&loop.loop, *reader, log);
  connect_relays();
  if (config.bounces) connect_mailbox(*config.bounces);
  bounce_log.emplace(&loop.loop, *log_recipients, log);
  delivery->connect(*store, *agent, *board, *waits, *events, *relay_tests, *bounce_log);
}

void App::Parts::connect_api() {
  waits.emplace(&loop.loop, *reader, *tally);
  events.emplace(&loop.loop, *reader, *tally);
  reload.emplace(config_path, config_text, config.daemon.key_file, *reader, *store, *tokens, log);
  relay_tests.emplace([this](const core::TestRelay& order) { agent->test(order); });
  refusals.emplace(*store);
  apps.emplace(config, rules, log);
  services.emplace(Services{config, *apps, *composer, *store, *reader, *waits, *events, *health, *relay_tests,
                            *refusals,
                            [this](ReloadDone done) { reload->run(std::move(done)); },
                            [this](const core::SuspendRelay& order) { obey(order); }, ids, random, log});
  add_shared_api(apps_router, *services, Audience::app);
  add_apps_api(apps_router, *services);
  add_shared_api(admin_router, *services, Audience::operators);
  add_admin_api(admin_router, *services);
  connect_metrics();
  const auto request_id = [this] { return core::to_string(ids.next(wall_now())); };
  const auto serve = [](const Router& router) {
    return [&router](HttpRequest request, Responder responder) {
      router.route(std::move(request), std::move(responder));
    };
  };
  const HttpShares shares = share_connections();
  apps_server.emplace(&loop.loop, shares.apps, serve(apps_router), request_id, log);
  admin_server.emplace(&loop.loop, shares.operators, serve(admin_router), request_id, log);
  metrics_server.emplace(&loop.loop, shares.metrics, serve(metrics_router), request_id, log);
}

void App::Parts::connect_metrics() {
  metrics.emplace(MetricsSources{config, *tally, *health, *reader, [this] { return figures(); }});
  add_metrics_api(admin_router, *metrics);
  add_metrics_api(metrics_router, *metrics);
}

LoopFigures App::Parts::figures() const {
  LoopFigures out;
  out.sockets = {{"apps", apps_server->load()},
                 {"operators", admin_server->load()},
                 {"metrics", metrics_server->load()}};
  out.agents.push_back({"smtp", agent->ready(), agent->restarts()});
  if (mailbox) out.agents.push_back({"imap", mailbox->ready(), mailbox->restarts()});
  out.waits = waits->size();
  out.event_streams = events->size();
  out.log_lines_dropped = log.dropped();
  out.started = started;
  return out;
}

HttpShares App::Parts::share_connections() {
  rlimit limit{};
  CHECK(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const HttpShares shares = share_descriptors(limit.rlim_cur);
  if (shares.few)
    log.write(core::LogLevel::warning,
              fmt::format("event=few_descriptors limit={} connections={} connections_of_uid={} "
                          "reason=\"with a limit (ulimit -n, LimitNOFILE=) of {} there are {}\"",
                          limit.rlim_cur, shares.apps.connections, shares.apps.connections_of_uid,
                          k_descriptors_wanted, HttpLimits{}.connections));
  return shares;
}

void App::Parts::connect_relays() {
  AgentOptions options;
  options.name = "smtp";
  options.program = agent_program("mailotp-smtp");
  options.lock_path = config.daemon.state_dir + "/mailotp-smtp.lock";
  // An agent that died as ordered is followed by one that goes on.
  if (std::string order = core::crash_order(); !order.empty())
    options.first_environment.push_back(std::move(order));
  agent.emplace(
      &loop.loop, std::move(options), [this] { return hello(); }, *delivery, log);
  for (const core::RelayConfig& relay : config.relays) {
    if (!authenticates(relay)) continue;
    const auto changed = [this, name = relay.name](core::Secret password) {
      agent->set_password({name, std::move(password)});
      board->reset(name);
    };
    passwords->add(
        "relay=" + relay.name, [&relay] { return password_file_of(relay); }, changed);
  }
  RelayBoard::Links links;
  links.probe = [this](const core::TestRelay& order) { agent->test(order); };
  links.offer = [this](std::vector<core::RelayOffer> offers) { store->offer(std::move(offers)); };
  links.back = [this] { store->settle(core::WakeForRelay{.at = wall_now()}); };
  board->connect(std::move(links), suspended);
}

void App::Parts::connect_mailbox(const core::BouncesConfig& bounces) {
  const std::string whose = "agent=imap";
  AgentOptions options;
  options.name = "imap";
  options.program = agent_program("mailotp-imap");
  options.lock_path = config.daemon.state_dir + "/mailotp-imap.lock";
  const auto hello = [this, &bounces, whose] {
    core::MailboxHello made = mailbox_hello(bounces, config);
    made.mailbox.password = password_or_none(password_file_of(bounces), whose);
    return made;
  };
  mailbox_watch.emplace(*health, log);
  mailbox.emplace(&loop.loop, std::move(options), hello, *mailbox_watch, log);
  passwords->add(
      whose, [&bounces] { return password_file_of(bounces); },
      [this](core::Secret password) { mailbox->set_password(std::move(password)); });
  MailboxWatch::Links links;
  links.record = [this](core::Command command, StoreThread::Completion done) {
    store->record(std::move(command), std::move(done));
  };
  links.resume = [this](core::MailboxResume order) { mailbox->resume(std::move(order)); };
  links.decide = [this](const core::MailDecided& decision) { mailbox->decide(decision); };
  links.move = [this](const core::MailDecided& decision) { mailbox->move(decision); };
  links.look_at_password = [this, whose] { passwords->look_now(whose); };
  mailbox_watch->connect(std::move(links));
}

tl::expected<void, StartFailure> App::start() {
  Parts& p = *parts_;
  auto keys = load_keys(p.config);
  if (!keys) return tl::unexpected(keys.error());
  auto tokens = mail::KeyedTokens::create(keys->token_keys());
  if (!tokens) return tl::unexpected(StartFailure{ExitCode::bad_configuration, tokens.error().what});
  p.tokens.emplace(std::move(*tokens));
  auto log_recipients = LogRecipients::create(keys->log_key(), p.config.daemon.log_level);
  if (!log_recipients)
    return tl::unexpected(StartFailure{ExitCode::bad_configuration, log_recipients.error().what});
  p.log_recipients.emplace(std::move(*log_recipients));
  auto composer = make_composer(p.config, *p.tokens);
  if (!composer) return tl::unexpected(StartFailure{ExitCode::bad_configuration, composer.error().what});
  p.composer.emplace(std::move(*composer));
  p.health.emplace(p.config);
  p.tally.emplace(p.config.relays);
  p.board.emplace(&p.loop.loop, p.config, *p.health, p.random, p.log);
  p.delivery.emplace(p.config, *p.health, *p.tally, p.log,
                     [] { std::_Exit(static_cast<int>(ExitCode::store_failed)); });
  if (auto opened = p.open_store(std::move(*keys)); !opened) return opened;
  p.connect();
  if (const auto listening = open_sockets(p.config, {*p.apps_server, *p.admin_server, *p.metrics_server});
      !listening) {
    p.finish();
    (void)uv_run(&p.loop.loop, UV_RUN_DEFAULT);  // until everything is closed
    return tl::unexpected(StartFailure{ExitCode::socket_in_use, listening.error().what});
  }
  p.terminate.emplace(&p.loop.loop, SIGTERM, [&p] { p.drain(); });
  p.interrupt.emplace(&p.loop.loop, SIGINT, [&p] { p.drain(); });
  p.hang_up.emplace(&p.loop.loop, SIGHUP, [&p] {
    p.reload->run([](const auto&) {});  // it is in the log
  });
  p.drain_limit.emplace(&p.loop.loop, [&p] { p.stop_now(); });
  p.notices.emplace(&p.loop.loop, ServiceNotices::manager_of_environment(), p.log);
  p.agent->start();
  if (p.mailbox) p.mailbox->start();
  p.passwords->start();
  p.announce();
  return {};
}

void App::Parts::announce() {
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
  if (draining) notices->stopping(k_close_limit);
  store->stop([this] {
    reader->stop();
    const auto closed = [this, left = std::make_shared<int>(3)] {
      if (--*left == 0) uv_stop(&loop.loop);
    };
    for (HttpServer* server : servers())
      server->close(closed);
  });
}

ExitCode App::run() {
  (void)uv_run(&parts_->loop.loop, UV_RUN_DEFAULT);
  parts_->log.write(core::LogLevel::notice, "event=stopped");
  return ExitCode::ok;
}

}  // namespace mailotp::daemon
