// Who knows whom: the parts that need each other are connected here, before anything runs.
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sys/resource.h>

#include "core/crash_point.h"
#include "daemon/api/admin_api.h"
#include "daemon/api/apps_api.h"
#include "daemon/api/shared_api.h"
#include "daemon/app/parts.h"
#include "daemon/app/places.h"

namespace mailotp::daemon {

namespace {

constexpr const char* k_mailbox_password = "agent=imap";  // as the log calls it

std::string relay_password(const std::string& relay) {
  return "relay=" + relay;
}

}  // namespace

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
  const core::Config& config = this->config();
  hello.hostname = config.mail.hostname;
  hello.dsn_notify = config.mail.dsn;
  hello.limits = config.session;
  for (const core::RelayConfig& relay : config.relays) {
    core::RelaySettings settings = settings_of(relay);
    if (authenticates(relay))
      settings.password = password_or_none(password_file_of(relay), relay_password(relay.name));
    hello.relays.push_back(std::move(settings));
  }
  return hello;
}

// Who resumes a relay has put right what was wrong: the agent is to forget that AUTH was refused, too.
void App::Parts::obey(const core::SuspendRelay& order) {
  board->suspend(order.relay, order.suspended);
  if (!order.suspended) passwords->read_again(relay_password(order.relay));
}

// All that the configuration in force names.
std::vector<PasswordWatch::File> App::Parts::password_files() {
  std::vector<PasswordWatch::File> files;
  for (const core::RelayConfig& relay : config().relays) {
    if (!authenticates(relay)) continue;
    const auto changed = [this, name = relay.name](core::Secret password) {
      agent->set_password({name, std::move(password)});
      board->reset(name);
    };
    files.push_back({relay_password(relay.name), [relay] { return password_file_of(relay); }, changed});
  }
  if (mailbox) {
    files.push_back({k_mailbox_password, [bounces = *config().bounces] { return password_file_of(bounces); },
                     [this](core::Secret password) { mailbox->set_password(std::move(password)); }});
  }
  return files;
}

void App::Parts::connect(std::vector<store::KeyId> keys) {
  connect_api(std::move(keys));
  passwords.emplace(&loop.loop, *reader, log);
  connect_relays();
  if (config().bounces) connect_mailbox();
  passwords->watch(password_files());
  passwords->know();
  bounce_log.emplace(&loop.loop, *log_recipients, log);
  delivery->connect(*store, *agent, *board, *waits, *events, *relay_tests, *bounce_log);
}

void App::Parts::connect_api(std::vector<store::KeyId> keys) {
  waits.emplace(&loop.loop, *reader, *tally);
  events.emplace(&loop.loop, *reader, *tally);
  snapshots.emplace(&loop.loop, config().daemon.state_dir);
  backups.emplace(*snapshots, log);
  reload.emplace(&loop.loop, loaded.path, *in_force, std::move(keys), *store, *tokens, log,
                 [this](TakenOver& next) { take_over(next); });
  relay_tests.emplace([this](const core::TestRelay& order) { agent->test(order); });
  refusals.emplace(*store);
  apps.emplace(*in_force, log);
  services.emplace(Services{*in_force, *apps, *store, *reader, *waits, *events, *health, *relay_tests,
                            *backups, *refusals, [this](ReloadDone done) { reload->run(std::move(done)); },
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
  metrics.emplace(MetricsSources{*in_force, *tally, *health, *reader, [this] { return figures(); }});
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
  options.lock_path = config().daemon.state_dir + "/mailotp-smtp.lock";
  // An agent that died as ordered is followed by one that goes on.
  if (std::string order = core::crash_order(); !order.empty())
    options.first_environment.push_back(std::move(order));
  agent.emplace(
      &loop.loop, std::move(options), [this] { return hello(); }, *delivery, log);
  RelayBoard::Links links;
  links.probe = [this](const core::TestRelay& order) { agent->test(order); };
  links.offer = [this](std::vector<core::RelayOffer> offers) { store->offer(std::move(offers)); };
  links.back = [this] { store->settle(core::WakeForRelay{.at = wall_now()}); };
  board->connect(std::move(links), suspended);
}

void App::Parts::connect_mailbox() {
  AgentOptions options;
  options.name = "imap";
  options.program = agent_program("mailotp-imap");
  options.lock_path = config().daemon.state_dir + "/mailotp-imap.lock";
  const auto mailbox_told = [this] {
    const core::Config& config = this->config();
    core::MailboxHello made = mailbox_hello(*config.bounces, config);
    made.mailbox.password = password_or_none(password_file_of(*config.bounces), k_mailbox_password);
    return made;
  };
  mailbox_watch.emplace(*health, log);
  mailbox.emplace(&loop.loop, std::move(options), mailbox_told, *mailbox_watch, log);
  MailboxWatch::Links links;
  links.record = [this](core::Command command, StoreThread::Completion done) {
    store->record(std::move(command), std::move(done));
  };
  links.resume = [this](core::MailboxResume order) { mailbox->resume(std::move(order)); };
  links.decide = [this](const core::MailDecided& decision) { mailbox->decide(decision); };
  links.move = [this](const core::MailDecided& decision) { mailbox->move(decision); };
  links.look_at_password = [this] { passwords->look_now(k_mailbox_password); };
  mailbox_watch->connect(std::move(links));
}

}  // namespace mailotp::daemon
