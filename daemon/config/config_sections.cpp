#include "daemon/config/config_sections.h"

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>

#include "daemon/config/table_reader.h"

namespace mailotp::daemon {
namespace {

using core::Seconds;

constexpr Seconds k_hour{3600};
constexpr Seconds k_day{86'400};
constexpr core::Millis k_shortest{10};
constexpr core::Millis k_longest_phase{600'000};  // RFC 5321 section 4.5.3.2 has none longer
constexpr Seconds k_ten_years{3650 * 86'400};
constexpr std::int64_t k_max_open_messages = 1'000'000'000;
constexpr std::int64_t k_max_free_disk = 1LL << 50;

constexpr std::array<Choice<core::Mode>, 2> k_modes{
    {{"production", core::Mode::production}, {"development", core::Mode::development}}};
constexpr std::array<Choice<core::LogFormat>, 4> k_log_formats{{{"auto", core::LogFormat::automatic},
                                                                {"text", core::LogFormat::text},
                                                                {"json", core::LogFormat::json},
                                                                {"journal", core::LogFormat::journal}}};
constexpr std::array<Choice<core::LogLevel>, 5> k_log_levels{{{"debug", core::LogLevel::debug},
                                                              {"info", core::LogLevel::info},
                                                              {"notice", core::LogLevel::notice},
                                                              {"warning", core::LogLevel::warning},
                                                              {"error", core::LogLevel::error}}};
constexpr std::array<Choice<core::Verp>, 3> k_verps{
    {{"recipient", core::Verp::recipient}, {"message", core::Verp::message}, {"off", core::Verp::off}}};
constexpr std::array<Choice<core::RelayKind>, 2> k_relay_kinds{
    {{"smtp", core::RelayKind::smtp}, {"capture", core::RelayKind::capture}}};
constexpr std::array<Choice<core::TlsMode>, 3> k_tls_modes{{{"starttls", core::TlsMode::starttls},
                                                            {"implicit", core::TlsMode::implicit},
                                                            {"none", core::TlsMode::none}}};
constexpr std::array<Choice<core::AuthMode>, 5> k_relay_auths{{{"none", core::AuthMode::none},
                                                               {"auto", core::AuthMode::automatic},
                                                               {"plain", core::AuthMode::plain},
                                                               {"login", core::AuthMode::login},
                                                               {"xoauth2", core::AuthMode::xoauth2}}};
constexpr std::array<Choice<core::AuthMode>, 2> k_mailbox_auths{
    {{"login", core::AuthMode::login}, {"xoauth2", core::AuthMode::xoauth2}}};
constexpr std::array<Choice<core::ForeignMail>, 2> k_foreign_mails{
    {{"leave", core::ForeignMail::leave}, {"move", core::ForeignMail::move}}};
constexpr std::array<Choice<core::Alphabet>, 3> k_alphabets{{{"digits", core::Alphabet::digits},
                                                             {"crockford32", core::Alphabet::crockford32},
                                                             {"alphanumeric", core::Alphabet::alphanumeric}}};
constexpr std::array<Choice<core::ResendMode>, 2> k_resend_modes{
    {{"same", core::ResendMode::same}, {"new", core::ResendMode::fresh}}};
constexpr std::array<Choice<core::OnUncertain>, 2> k_on_uncertain{
    {{"resend", core::OnUncertain::resend}, {"hold", core::OnUncertain::hold}}};
constexpr std::array<Choice<core::VerdictWeight>, 4> k_weights{{{"hard", core::VerdictWeight::hard},
                                                                {"soft", core::VerdictWeight::soft},
                                                                {"alarm", core::VerdictWeight::alarm},
                                                                {"none", core::VerdictWeight::none}}};
// The compact classes of a bounce.
constexpr std::array<std::string_view, 21> k_verdict_classes{"user-unknown",
                                                             "host-unknown",
                                                             "host-not-accepting",
                                                             "mailbox-disabled",
                                                             "mailbox-full",
                                                             "expired",
                                                             "network",
                                                             "recipient-filtered",
                                                             "rate-limited",
                                                             "greylisted",
                                                             "ip-blocked",
                                                             "auth",
                                                             "sender-rejected",
                                                             "spam",
                                                             "content",
                                                             "too-large",
                                                             "policy",
                                                             "security",
                                                             "system",
                                                             "suppressed",
                                                             "unknown"};

core::DaemonConfig read_daemon(const Node* table, Findings& findings) {
  core::DaemonConfig out;
  TableReader in(table, "daemon", findings);
  in.choice("mode", out.mode, k_modes);
  in.text("state_dir", out.state_dir, absolute_path);
  in.text("api_socket", out.api_socket, socket_path);
  in.text("admin_socket", out.admin_socket, socket_path);
  in.file_mode("api_mode", out.api_mode);
  in.file_mode("admin_mode", out.admin_mode);
  in.text("api_group", out.api_group, account_name_or_empty);
  in.text("admin_group", out.admin_group, account_name_or_empty);
  in.text("metrics_socket", out.metrics_socket, socket_path_or_empty);
  in.text("key_file", out.key_file, absolute_path);
  in.text("templates", out.templates, absolute_path);
  in.choice("log", out.log, k_log_formats);
  in.choice("log_level", out.log_level, k_log_levels);
  in.finish();
  return out;
}

core::Result<> dsn_condition(std::string_view text) {
  if (text == "failure" || text == "delay" || text == "success") return {};
  return core::fail(core::Errc::invalid, "must be one of failure, delay, success");
}

core::MailConfig read_mail(const Node* table, Findings& findings) {
  core::MailConfig out;
  TableReader in(table, "mail", findings);
  in.sender("from", out.from);
  in.address("bounce_address", out.bounce_address);
  in.text("hostname", out.hostname, host_name);
  in.choice("verp", out.verp, k_verps);
  in.texts("dsn", out.dsn, dsn_condition);
  in.text("locale", out.locale, locale);
  in.require("from", R"("Example <no-reply@example.org>")");
  in.require("bounce_address", R"("bounces@example.org")");
  in.require("hostname", R"("otp.example.org")");
  in.finish();
  return out;
}

core::RelayConfig read_relay(const Node& table, std::size_t index, Findings& findings) {
  core::RelayConfig out;
  TableReader in(&table, fmt::format("relay[{}]", index), findings);
  in.text("name", out.name, relay_name);
  in.choice("kind", out.kind, k_relay_kinds);
  in.text("host", out.host, host);
  in.whole("port", out.port, 1, 65'535);
  in.choice("tls", out.tls, k_tls_modes);
  in.text("server_name", out.server_name, host_or_empty);
  in.text("ca_file", out.ca_file, absolute_path_or_empty);
  in.choice("auth", out.auth, k_relay_auths);
  in.text("username", out.username);
  in.text("password_file", out.password_file, absolute_path_or_empty);
  in.whole("max_connections", out.max_connections, 1, 256);
  in.whole("priority", out.priority, 0, 1000);
  in.rate("rate", out.rate);
  in.rate("quota", out.quota);
  in.text("directory", out.directory, absolute_path_or_empty);
  in.require("name", R"("primary")");
  if (out.kind == core::RelayKind::capture) {
    in.require("directory", R"("/var/lib/mailotpd/captured")");
  } else {
    in.require("host", R"("smtp.example.net")");
  }
  in.finish();
  if (out.server_name.empty()) out.server_name = out.host;
  return out;
}

core::BouncesConfig read_bounces(const Node& table, Findings& findings) {
  core::BouncesConfig out;
  TableReader in(&table, "bounces", findings);
  in.text("host", out.host, host);
  in.whole("port", out.port, 1, 65'535);
  in.choice("tls", out.tls, k_tls_modes);
  in.text("server_name", out.server_name, host_or_empty);
  in.text("ca_file", out.ca_file, absolute_path_or_empty);
  in.choice("auth", out.auth, k_mailbox_auths);
  in.text("username", out.username, not_empty);
  in.text("password_file", out.password_file, absolute_path_or_empty);
  in.text("mailbox", out.mailbox, not_empty);
  in.text("processed", out.processed, not_empty);
  in.text("unrecognised", out.unrecognised, not_empty);
  in.choice("foreign", out.foreign, k_foreign_mails);
  in.duration("poll", out.poll, Seconds{1}, Seconds{3600});
  in.require("host", R"("imap.example.net")");
  in.require("username", R"("bounces")");
  in.finish();
  if (out.server_name.empty()) out.server_name = out.host;
  return out;
}

core::PurposeConfig read_purpose(const Node& table, const std::string& name, core::PurposeConfig out,
                                 Findings& findings) {
  TableReader in(&table, "purpose." + name, findings);
  in.text("template", out.template_name, plain_name);
  in.duration("ttl", out.ttl, Seconds{30}, k_day);
  in.whole("length", out.code.length, core::k_min_code_length, core::k_max_code_length);
  in.choice("alphabet", out.code.alphabet, k_alphabets);
  in.real("entropy_floor", out.entropy_floor, 13, 60);
  in.whole("max_attempts", out.max_attempts, 1, 20);
  in.whole("max_sends", out.max_sends, 1, 20);
  in.duration("cooldown", out.cooldown, Seconds{0}, k_hour);
  in.choice("resend", out.resend, k_resend_modes);
  in.duration("usable_minimum", out.usable_minimum, Seconds{0}, k_day);
  in.finish();
  return out;
}

core::Purposes read_purposes(const Node* table, Findings& findings) {
  core::Purposes out = core::preset_purposes();
  if (table == nullptr) return out;
  for (const Entry& entry : table->entries) {
    if (const auto ok = plain_name(entry.key); !ok) {
      findings.refuse(entry.key_at, "the name of a purpose " + ok.error().what);
    } else if (entry.value.kind != NodeKind::table) {
      findings.refuse(entry.key_at, fmt::format("unknown key {} in [purpose]; write [purpose.NAME], such as "
                                                "[purpose.login]",
                                                entry.key));
    } else {
      core::PurposeConfig& purpose = out[entry.key];
      purpose = read_purpose(entry.value, entry.key, purpose, findings);
    }
  }
  return out;
}

core::LimitsConfig read_limits(const Node* table, const std::string& path, core::LimitsConfig out,
                               Findings& findings) {
  TableReader in(table, path, findings);
  in.rates("recipient_sends", out.recipient_sends);
  in.rates("recipient_failures", out.recipient_failures);
  in.boolean("fold_plus", out.fold_plus);
  in.texts("fold_dots_domains", out.fold_dots_domains, host_name);
  in.rates("client_sends", out.client_sends);
  in.rates("app_sends", out.app_sends);
  in.rates("global_sends", out.global_sends);
  in.finish();
  return out;
}

void read_session(TableReader& in, core::SessionLimits& out) {
  in.duration("connect_timeout", out.connect, k_shortest, k_longest_phase);
  in.duration("greeting_timeout", out.greeting, k_shortest, k_longest_phase);
  in.duration("ehlo_timeout", out.ehlo, k_shortest, k_longest_phase);
  in.duration("starttls_timeout", out.starttls, k_shortest, k_longest_phase);
  in.duration("auth_timeout", out.auth, k_shortest, k_longest_phase);
  in.duration("mail_timeout", out.mail, k_shortest, k_longest_phase);
  in.duration("rcpt_timeout", out.rcpt, k_shortest, k_longest_phase);
  in.duration("data_timeout", out.data, k_shortest, k_longest_phase);
  in.duration("write_timeout", out.write, k_shortest, k_longest_phase);
  in.duration("before_dot_timeout", out.before_dot, k_shortest, k_longest_phase);
  in.duration("dot_timeout", out.dot, k_shortest, k_longest_phase);
  in.duration("idle_timeout", out.idle, k_shortest, k_hour);
  in.duration("session_age", out.session_age, k_shortest, k_day);
  in.whole("session_messages", out.session_messages, 1, 100'000);
}

void read_breaker(TableReader& in, core::BreakerPolicy& out) {
  in.whole("breaker_failures", out.failures_in_row, 1, 100);
  in.duration("breaker_first", out.first, k_shortest, k_hour);
  in.duration("breaker_most", out.most, k_shortest, k_hour);
  in.duration("breaker_refused", out.refused, k_shortest, k_hour);
  in.duration("probe", out.probe, k_shortest, k_hour);
}

void read_delivery(const Node* table, core::Config& out, Findings& findings) {
  TableReader in(table, "delivery", findings);
  in.durations("retry", out.delivery.retry, core::Millis{1}, k_day);
  in.durations("retry_templated", out.delivery.retry_templated, core::Millis{1}, k_day);
  in.durations("greylist", out.delivery.greylist, core::Millis{1}, k_day);
  in.whole("jitter", out.delivery.jitter_percent, 0, 50);
  in.choice("uncertain", out.delivery.uncertain, k_on_uncertain);
  in.duration("uncertain_pause", out.delivery.uncertain_pause, core::Millis{0}, k_hour);
  read_session(in, out.session);
  read_breaker(in, out.breaker);
  in.whole("max_open_messages", out.intake.max_open_messages, 1, k_max_open_messages);
  in.size("min_free_disk", out.intake.min_free_disk, k_max_free_disk);
  in.finish();
  out.breaker.jitter_percent = out.delivery.jitter_percent;
}

constexpr int k_most_floor = 1'000'000'000;  // never reached

// In development no mail leaves, so nobody is flooded: without a table of its own the brake stays off.
core::BrakeConfig read_brake(const Node* table, core::Mode mode, Findings& findings) {
  core::BrakeConfig out;
  if (table == nullptr && mode == core::Mode::development) out.floor = k_most_floor;
  TableReader in(table, "brake", findings);
  in.whole("ratio", out.ratio, 1, 1'000'000);
  in.whole("floor", out.floor, 1, k_most_floor);
  in.duration("period", out.period, Seconds{10}, k_day);
  in.finish();
  return out;
}

std::map<std::string, core::VerdictWeight> read_verdict(const Node* table, Findings& findings) {
  std::map<std::string, core::VerdictWeight> out;
  TableReader in(table, "verdict", findings);
  for (const std::string_view name : k_verdict_classes) {
    const std::string path = fmt::format("verdict.{}", name);
    core::VerdictWeight weight = core::VerdictWeight::none;
    in.choice(name, weight, k_weights);
    if (findings.is_set(path)) out.emplace(name, weight);
  }
  in.finish();
  return out;
}

core::AppConfig read_app(const Node& table, std::size_t index, const core::LimitsConfig& common,
                         Findings& findings) {
  core::AppConfig out;
  const std::string path = fmt::format("app[{}]", index);
  TableReader in(&table, path, findings);
  in.text("name", out.name, plain_name);
  in.texts("users", out.users, account_name);
  // The last uid means "none" to the kernel.
  in.wholes("uids", out.uids, std::numeric_limits<std::uint32_t>::max() - 1);
  in.texts("groups", out.groups, account_name);
  in.text("socket", out.socket, socket_path_or_empty);
  if (const Node* limits = in.take_table("limits"); limits != nullptr && !limits->entries.empty())
    out.limits = read_limits(limits, path + ".limits", common, findings);
  in.text("templates", out.templates, absolute_path_or_empty);
  in.texts("purposes", out.purposes, plain_name);
  in.optional_sender("from", out.from);
  in.text("domain", out.domain,
          [](std::string_view text) { return text.empty() ? core::Result<>{} : host_name(text); });
  in.require("name", R"("shop")");
  in.finish();
  return out;
}

core::RetentionConfig read_retention(const Node* table, Findings& findings) {
  core::RetentionConfig out;
  TableReader in(table, "retention", findings);
  in.duration("challenges", out.challenges, Seconds{1}, k_ten_years);
  in.duration("messages", out.messages, Seconds{1}, k_ten_years);
  in.duration("events", out.events, Seconds{1}, k_ten_years);
  in.duration("bounces", out.bounces, Seconds{1}, k_ten_years);
  in.finish();
  return out;
}

}  // namespace

core::Config read_sections(const Node& root, Findings& findings) {
  core::Config out;
  TableReader in(&root, "", findings);
  out.daemon = read_daemon(in.take_table("daemon"), findings);
  out.mail = read_mail(in.take_table("mail"), findings);
  for (const Node* table : in.take_tables("relay"))
    out.relays.push_back(read_relay(*table, out.relays.size(), findings));
  if (const Node* table = in.take_table("bounces")) out.bounces = read_bounces(*table, findings);
  out.purposes = read_purposes(in.take_table("purpose"), findings);
  out.limits = read_limits(in.take_table("limits"), "limits", core::LimitsConfig{}, findings);
  read_delivery(in.take_table("delivery"), out, findings);
  out.brake = read_brake(in.take_table("brake"), out.daemon.mode, findings);
  out.verdict = read_verdict(in.take_table("verdict"), findings);
  for (const Node* table : in.take_tables("app"))
    out.apps.push_back(read_app(*table, out.apps.size(), out.limits, findings));
  // A purpose that an app names is one, with or without a table of its own.
  for (const core::AppConfig& app : out.apps)
    for (const std::string& name : app.purposes)
      out.purposes.emplace(name, core::PurposeConfig{});
  out.retention = read_retention(in.take_table("retention"), findings);
  in.finish();
  return out;
}

}  // namespace mailotp::daemon
