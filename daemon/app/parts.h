// The daemon's parts, made and wired by app.cpp (start and stop), open_store.cpp, wiring.cpp and
// take_over.cpp (a reload), and by nobody else.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <uv.h>

#include "core/check.h"
#include "core/config.h"
#include "core/id.h"
#include "daemon/agents/mailbox_supervisor.h"
#include "daemon/agents/supervisor.h"
#include "daemon/api/apps.h"
#include "daemon/api/backups.h"
#include "daemon/api/event_streams.h"
#include "daemon/api/health.h"
#include "daemon/api/in_force.h"
#include "daemon/api/metrics_api.h"
#include "daemon/api/refusal_notes.h"
#include "daemon/api/relay_tests.h"
#include "daemon/api/router.h"
#include "daemon/api/services.h"
#include "daemon/api/waits.h"
#include "daemon/app/app.h"
#include "daemon/app/bounce_log.h"
#include "daemon/app/current_tokens.h"
#include "daemon/app/delivery.h"
#include "daemon/app/kernel_random.h"
#include "daemon/app/log_recipients.h"
#include "daemon/app/mailbox_watch.h"
#include "daemon/app/named_files.h"
#include "daemon/app/password_watch.h"
#include "daemon/app/relay_board.h"
#include "daemon/app/reload.h"
#include "daemon/app/service_notices.h"
#include "daemon/http/server.h"
#include "daemon/loop/handles.h"
#include "daemon/metrics/tally.h"
#include "daemon/state/clock.h"
#include "daemon/state/reader_thread.h"
#include "daemon/state/snapshot_thread.h"
#include "daemon/state/store_thread.h"
#include "store/keys.h"
#include "store/sqlite_store.h"

namespace mailotp::daemon {

inline constexpr core::Millis k_move_grace{2000};  // for mails that are being moved

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

struct App::Parts {
  Parts(LoadedConfig loaded_, core::Log& log_) : loaded(std::move(loaded_)), log(log_) {}

  // Made first, gone last.
  const LoadedConfig loaded;  // as the start read it
  core::Log& log;
  KernelRandom random;
  core::IdSource ids{random};
  Loop loop;
  std::optional<CurrentTokens> tokens;
  std::optional<LogRecipients> log_recipients;
  std::optional<InForce> in_force;
  const core::WallTime started = wall_now();
  std::optional<Health> health;
  std::optional<Tally> tally;
  std::optional<RelayBoard> board;
  std::optional<Delivery> delivery;
  std::optional<StoreThread> store;
  std::optional<ReaderThread> reader;
  std::optional<Waits> waits;
  std::optional<EventStreams> events;
  std::optional<SnapshotThread> snapshots;
  std::optional<Backups> backups;
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
  std::optional<Timer> closing;  // the store takes its time: the manager is told so

  std::vector<std::string> suspended;  // relays, from before the start
  bool draining = false;
  int to_drain = 0;
  core::Millis closing_for{0};

  core::Result<> follow_clock(store::SqliteStore& opened);
  tl::expected<void, StartFailure> open_store(store::KeyRing keys);
  [[nodiscard]] tl::expected<NamedKeys, StartFailure> make_in_force();
  void connect(std::vector<store::KeyId> keys);
  void connect_api(std::vector<store::KeyId> keys);
  void connect_metrics();
  [[nodiscard]] const core::Config& config() const { return (*in_force)->config; }
  [[nodiscard]] LoopFigures figures() const;
  [[nodiscard]] std::array<HttpServer*, 3> servers() {
    return {&*apps_server, &*admin_server, &*metrics_server};
  }
  HttpShares share_connections();
  void connect_relays();
  core::Hello hello();
  void connect_mailbox();
  core::Secret password_or_none(const std::string& path, std::string_view whose);
  [[nodiscard]] std::vector<PasswordWatch::File> password_files();
  void obey(const core::SuspendRelay& order);
  void take_over(TakenOver& next);
  void take_over_relays(const core::Config& before, const ConfigChanges& changes);
  void take_over_apps(TakenOver& next);
  void announce();
  [[nodiscard]] std::vector<WatchedPart> watched_parts() const;
  void drain();
  void drained_one();
  void stop_now();
  void finish();
  void ask_for_time();
};

}  // namespace mailotp::daemon
