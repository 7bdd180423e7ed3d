#include "daemon/api/metrics_view.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <string_view>
#include <utility>

#include "core/bounce.h"

namespace mailotp::daemon {

namespace {

constexpr auto k_counter = MetricType::counter;
constexpr auto k_gauge = MetricType::gauge;

using Families = std::vector<Family>;

Family single(std::string name, MetricType type, std::string help, auto value) {
  Family out{std::move(name), type, std::move(help)};
  out.add_count({}, value);
  return out;
}

// A label of its own for each state, 1 for the one that it is in.
void add_states(Family& family, const Labels& labels, std::span<const std::string_view> states,
                std::string_view now) {
  for (const std::string_view state : states) {
    Labels with_state = labels;
    with_state.emplace_back("state", state);
    family.add(std::move(with_state), state == now ? 1 : 0);
  }
}

std::int64_t count_of(const std::map<std::string, std::int64_t>& counts, const std::string& name) {
  const auto at = counts.find(name);
  return at == counts.end() ? 0 : at->second;
}

void add_messages(Families& out, const core::Stats& stats) {
  Family now{"mailotpd_messages", k_gauge, "Messages that are kept, by state."};
  Family oldest{"mailotpd_oldest_message_age_seconds", k_gauge,
                "Age of the oldest message of an open state; 0: there is none."};
  Family ended{"mailotpd_messages_ended_total", k_counter,
               "Messages that have ended, by how; survives restarts and removal."};
  for (int i = 0; i < core::k_message_states; ++i) {
    const auto state = static_cast<core::MessageState>(i);
    const std::string name(core::to_string(state));
    now.add_count({{"state", name}}, count_of(stats.messages, name));
    if (core::is_open(state)) oldest.add_count({{"state", name}}, count_of(stats.oldest_seconds, name));
    // One that rests uncertain ends so when its row goes.
    if (!core::is_open(state) || state == core::MessageState::uncertain)
      ended.add_count({{"state", name}}, count_of(stats.ended_total, name));
  }
  for (Family* family : {&now, &oldest, &ended})
    out.push_back(std::move(*family));
}

void add_store(Families& out, const core::Stats& stats) {
  add_messages(out, stats);
  out.push_back(single("mailotpd_accepted_total", k_counter,
                       "Messages that were accepted; survives restarts and removal.", stats.accepted_total));
  Family challenges{"mailotpd_challenges", k_gauge, "Challenges that are kept, by state."};
  for (int i = 0; i < core::k_challenge_states; ++i) {
    const std::string name(core::to_string(static_cast<core::ChallengeState>(i)));
    challenges.add_count({{"state", name}}, count_of(stats.challenges, name));
  }
  out.push_back(std::move(challenges));
  Family bounces{"mailotpd_bounces_total", k_counter,
                 "Failures in the ledger of bounces, by class; survives restarts and removal."};
  for (int i = 0; i < core::k_bounce_classes; ++i) {
    const std::string name(core::to_string(static_cast<core::BounceClass>(i)));
    bounces.add_count({{"class", name}}, count_of(stats.bounces, name));
  }
  out.push_back(std::move(bounces));
  out.push_back(single("mailotpd_suppressions_total", k_counter,
                       "Times that an address was suppressed, by a bounce or an operator; survives restarts.",
                       stats.suppressed_total));
  out.push_back(single("mailotpd_contradictory_bounces_total", k_counter,
                       "Reports whose tokens lead to different mails; survives restarts.",
                       stats.contradictory_total));
  out.push_back(single("mailotpd_unread_mails_total", k_counter,
                       "Mails of the bounce mailbox that killed their reader and were moved unread; survives "
                       "restarts.",
                       stats.unread_mails_total));
}

void add_relays(Families& out, const ReadyView& health) {
  constexpr std::array<std::string_view, 3> k_breaker{"closed", "half-open", "open"};
  Family up{"mailotpd_relay_up", k_gauge, "1: the last session with the relay was good."};
  Family suspended{"mailotpd_relay_suspended", k_gauge, "1: an operator has suspended it."};
  Family breaker{"mailotpd_relay_breaker", k_gauge, "1 for the state that the relay's breaker is in."};
  Family connections{"mailotpd_relay_connections", k_gauge, "Connections to the relay."};
  for (const ReadyView::Relay& relay : health.relays) {
    const Labels labels{{"relay", relay.name}};
    up.add(labels, relay.state == "up" ? 1 : 0);
    suspended.add(labels, relay.state == "suspended" ? 1 : 0);
    add_states(breaker, labels, k_breaker, relay.breaker);
    connections.add_count(labels, relay.connections);
  }
  for (Family* family : {&up, &suspended, &breaker, &connections})
    out.push_back(std::move(*family));
}

void add_health(Families& out, const MetricsView& view) {
  constexpr std::array<std::string_view, 3> k_mailbox{"down", "off", "up"};
  const ReadyView& health = view.health;
  out.push_back(single("mailotpd_ready", k_gauge, "1: /readyz answers 200.", health.ready ? 1 : 0));
  out.push_back(
      single("mailotpd_store_ok", k_gauge, "1: the store can commit.", health.store == "ok" ? 1 : 0));
  out.push_back(single("mailotpd_store_readable", k_gauge,
                       "1: the store's own figures could be read; else they are left out.",
                       view.stats != nullptr ? 1 : 0));
  Family mailbox{"mailotpd_bounce_mailbox", k_gauge, "1 for the state that the bounce mailbox is in."};
  add_states(mailbox, {}, k_mailbox, health.bounces);
  out.push_back(std::move(mailbox));
  out.push_back(single("mailotpd_bounce_mailbox_foreign_mails", k_gauge,
                       "Mails in the bounce mailbox that are not ours.", health.foreign_mails));
  Family brake{"mailotpd_brake_on", k_gauge, "1: the brake holds the app's sends."};
  const auto add_app = [&](const std::string& app) {
    const bool on = std::ranges::find(health.braked, app) != health.braked.end();
    brake.add({{"app", app}}, on ? 1 : 0);
  };
  for (const core::AppConfig& app : view.config.apps)
    add_app(app.name);
  if (view.config.apps.empty()) add_app("default");
  out.push_back(std::move(brake));
}

void add_loop(Families& out, const LoopFigures& loop) {
  Family connections{"mailotpd_http_connections", k_gauge, "Open connections, by socket."};
  Family requests{"mailotpd_http_requests", k_gauge,
                  "Requests in hand, by socket: handled, waiting, or with an answer that is not taken."};
  for (const LoopFigures::Socket& socket : loop.sockets) {
    connections.add_count({{"socket", socket.name}}, socket.load.connections);
    requests.add_count({{"socket", socket.name}}, socket.load.requests);
  }
  Family ready{"mailotpd_agent_up", k_gauge, "1: the agent works."};
  Family restarts{"mailotpd_agent_restarts_total", k_counter, "Times that an agent had to be started again."};
  for (const LoopFigures::Agent& agent : loop.agents) {
    ready.add({{"agent", agent.name}}, agent.ready ? 1 : 0);
    restarts.add_count({{"agent", agent.name}}, agent.restarts);
  }
  for (Family* family : {&connections, &requests, &ready, &restarts})
    out.push_back(std::move(*family));
  out.push_back(single("mailotpd_waits", k_gauge, "Requests that wait for a change.", loop.waits));
  out.push_back(single("mailotpd_event_streams", k_gauge, "Streams of events.", loop.event_streams));
  out.push_back(single("mailotpd_log_lines_dropped_total", k_counter,
                       "Lines of the log that nobody has read.", loop.log_lines_dropped));
}

void add_process(Families& out, const ProcessFigures& process, core::WallTime started) {
  Family cpu{"process_cpu_seconds_total", k_counter, "CPU time of the daemon, user and system."};
  cpu.add({}, process.cpu_seconds);
  out.push_back(std::move(cpu));
  if (process.resident_bytes)
    out.push_back(single("process_resident_memory_bytes", k_gauge, "Memory of the daemon that is resident.",
                         *process.resident_bytes));
  if (process.open_descriptors)
    out.push_back(
        single("process_open_fds", k_gauge, "Open descriptors of the daemon.", *process.open_descriptors));
  Family start{"process_start_time_seconds", k_gauge, "Start of the daemon, since the epoch."};
  start.add({}, std::chrono::duration<double>(started.time_since_epoch()).count());
  out.push_back(std::move(start));
}

}  // namespace

std::string metrics_text(const MetricsView& view) {
  Families out = view.tally.families();
  Family build{"mailotpd_build_info", k_gauge, "1, with the version."};
  build.add({{"version", MAILOTP_VERSION}}, 1);
  out.push_back(std::move(build));
  if (view.stats != nullptr) add_store(out, *view.stats);
  add_relays(out, view.health);
  add_health(out, view);
  add_loop(out, view.loop);
  add_process(out, view.process, view.loop.started);
  return exposition(std::move(out));
}

}  // namespace mailotp::daemon
