// GET /metrics from plain values.
#include "daemon/api/metrics_view.h"

#include <chrono>
#include <string>

#include <catch2/catch.hpp>

using namespace mailotp;
using namespace mailotp::daemon;

namespace {

struct Parts {
  core::Config config;
  ReadyView health;
  LoopFigures loop;
  ProcessFigures process{1.5, 4096, 7};
  core::Stats stats;

  [[nodiscard]] std::string text(bool readable = true) const {
    const Tally tally(config.relays);
    return metrics_text({config, tally, health, loop, process, readable ? &stats : nullptr});
  }
};

bool has(const std::string& text, const std::string& line) {
  UNSCOPED_INFO(text);
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("metrics: the store's figures, with 0 for what it does not name") {
  Parts parts;
  parts.stats.messages = {{"queued", 3}};
  parts.stats.oldest_seconds = {{"queued", 12}};
  parts.stats.accepted_total = 57;
  parts.stats.ended_total = {{"relayed", 54}};
  parts.stats.bounces = {{"user-unknown", 2}};
  parts.stats.suppressed_total = 4;
  const std::string text = parts.text();
  CHECK(has(text, "mailotpd_messages{state=\"queued\"} 3"));
  CHECK(has(text, "mailotpd_messages{state=\"suppressed\"} 0"));
  CHECK(has(text, "mailotpd_oldest_message_age_seconds{state=\"queued\"} 12"));
  CHECK(has(text, "mailotpd_oldest_message_age_seconds{state=\"held\"} 0"));
  CHECK(has(text, "mailotpd_accepted_total 57"));
  CHECK(has(text, "mailotpd_messages_ended_total{state=\"relayed\"} 54"));
  CHECK(has(text, "mailotpd_messages_ended_total{state=\"uncertain\"} 0"));
  CHECK(text.find("mailotpd_messages_ended_total{state=\"queued\"}") == std::string::npos);
  CHECK(has(text, "mailotpd_bounces_total{class=\"user-unknown\"} 2"));
  CHECK(has(text, "mailotpd_bounces_total{class=\"spam\"} 0"));
  CHECK(has(text, "mailotpd_challenges{state=\"otp_sent\"} 0"));
  CHECK(has(text, "mailotpd_suppressions_total 4"));
  CHECK(has(text, "mailotpd_store_readable 1"));
}

TEST_CASE("metrics: a store that cannot be read leaves the rest") {
  const std::string text = Parts{}.text(false);
  CHECK(has(text, "mailotpd_store_readable 0"));
  CHECK(text.find("mailotpd_messages") == std::string::npos);
  CHECK(has(text, "mailotpd_ready 0"));
  CHECK(has(text, "process_open_fds 7"));
}

TEST_CASE("metrics: relays, with their breakers") {
  Parts parts;
  parts.health.relays = {{"a", "up", "closed", "", {}, 2},
                         {"b", "down", "half-open", "", {}, 0},
                         {"c", "suspended", "open", "", {}, 0}};
  const std::string text = parts.text();
  CHECK(has(text, "mailotpd_relay_up{relay=\"a\"} 1"));
  CHECK(has(text, "mailotpd_relay_up{relay=\"b\"} 0"));
  CHECK(has(text, "mailotpd_relay_up{relay=\"c\"} 0"));
  CHECK(has(text, "mailotpd_relay_suspended{relay=\"b\"} 0"));
  CHECK(has(text, "mailotpd_relay_suspended{relay=\"c\"} 1"));
  CHECK(has(text, "mailotpd_relay_connections{relay=\"a\"} 2"));
  CHECK(has(text, "mailotpd_relay_breaker{relay=\"a\",state=\"closed\"} 1"));
  CHECK(has(text, "mailotpd_relay_breaker{relay=\"a\",state=\"open\"} 0"));
  CHECK(has(text, "mailotpd_relay_breaker{relay=\"b\",state=\"half-open\"} 1"));
  CHECK(has(text, "mailotpd_relay_breaker{relay=\"c\",state=\"open\"} 1"));
}

TEST_CASE("metrics: the brake of each app, and of the one app where none is named") {
  Parts parts;
  CHECK(has(parts.text(), "mailotpd_brake_on{app=\"default\"} 0"));
  parts.config.apps.emplace_back().name = "shop";
  parts.config.apps.emplace_back().name = "wi\\ki";
  parts.health.braked = {"shop"};
  const std::string text = parts.text();
  CHECK(has(text, "mailotpd_brake_on{app=\"shop\"} 1"));
  CHECK(has(text, "mailotpd_brake_on{app=\"wi\\\\ki\"} 0"));
  CHECK(text.find("default") == std::string::npos);
}

TEST_CASE("metrics: what the loop has in hand, and the process") {
  Parts parts;
  parts.health.ready = true;
  parts.health.store = "ok";
  parts.health.bounces = "up";
  parts.health.foreign_mails = 21;
  parts.loop.sockets = {{"apps", {3, 2}}};
  parts.loop.agents = {{"smtp", true, 0}, {"imap", false, 5}};
  parts.loop.waits = 6;
  parts.loop.event_streams = 8;
  parts.loop.log_lines_dropped = 9;
  parts.loop.started = core::WallTime{std::chrono::milliseconds{1'500}};
  const std::string text = parts.text();
  CHECK(has(text, "mailotpd_ready 1"));
  CHECK(has(text, "mailotpd_store_ok 1"));
  CHECK(has(text, "mailotpd_bounce_mailbox{state=\"up\"} 1"));
  CHECK(has(text, "mailotpd_bounce_mailbox{state=\"down\"} 0"));
  CHECK(has(text, "mailotpd_bounce_mailbox_foreign_mails 21"));
  CHECK(has(text, "mailotpd_http_connections{socket=\"apps\"} 3"));
  CHECK(has(text, "mailotpd_http_requests{socket=\"apps\"} 2"));
  CHECK(has(text, "mailotpd_agent_up{agent=\"smtp\"} 1"));
  CHECK(has(text, "mailotpd_agent_restarts_total{agent=\"imap\"} 5"));
  CHECK(has(text, "mailotpd_waits 6"));
  CHECK(has(text, "mailotpd_event_streams 8"));
  CHECK(has(text, "mailotpd_log_lines_dropped_total 9"));
  CHECK(has(text, "process_cpu_seconds_total 1.5"));
  CHECK(has(text, "process_resident_memory_bytes 4096"));
  CHECK(has(text, "process_start_time_seconds 1.5"));
  CHECK(has(text, std::string("mailotpd_build_info{version=\"") + MAILOTP_VERSION + "\"} 1"));
  parts.process = {};
  CHECK(parts.text().find("process_open_fds") == std::string::npos);
}
