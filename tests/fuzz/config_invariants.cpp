#include "tests/fuzz/config_invariants.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "daemon/config/config_file.h"
#include "mail/compose/utf8.h"
#include "tests/fuzz/must.h"

namespace mailotp::fuzz {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::string_view k_file = "fuzz.toml";
constexpr hours k_day{24};

template <class T, class U, class V>
bool between(U low, T value, V high) {
  return value >= low && value <= high;
}

bool is_path(std::string_view text) {
  return text.starts_with('/') && !has_control(text);
}

bool is_path_or_empty(std::string_view text) {
  return text.empty() || is_path(text);
}

bool is_socket(std::string_view text) {
  return is_path(text) && text.size() <= 107;
}

// What may stand in EHLO, a URL or a resolver's question: nothing that ends a line or a word.
bool is_host(std::string_view text) {
  return !text.empty() && text.size() <= 253 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == ':';
  });
}

bool is_name(std::string_view text) {
  return between(1U, text.size(), 32U) && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
         });
}

// ---- Refusals.

std::size_t take_number(std::string_view& text, char end) {
  std::size_t number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  must(error == std::errc() && stop != text.data() + text.size() && *stop == end, "a place is line:column:");
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()) + 1);
  return number;
}

void check_error_line(std::string_view line, std::size_t lines) {
  must(!has_control(line) && mail::valid_utf8(line), "a line of an error is text");
  must(line.starts_with(k_file) && line.substr(k_file.size()).starts_with(':'),
       "an error begins with its file");
  line.remove_prefix(k_file.size() + 1);
  must(between(1U, take_number(line, ':'), lines), "an error is on a line of the file");
  must(take_number(line, ':') >= 1, "columns count from 1");
  must(line.size() > 1 && line.front() == ' ', "an error says what is wrong");
}

void check_error(const core::Error& error, std::string_view text) {
  must(error.code == core::Errc::malformed || error.code == core::Errc::invalid, "the file is to blame");
  const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
  std::size_t count = 0;
  for (std::string_view rest = error.what;;) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    check_error_line(rest.substr(0, end), lines);
    ++count;
    if (end == rest.size()) break;
    rest.remove_prefix(end + 1);
  }
  must(count <= 20, "at most 20 lines of errors");
}

// ---- What was accepted.

void check_address(const core::Address& address) {
  const auto again = core::parse_address(address.mailbox());
  must(again.has_value() && *again == address, "an address is one");
}

void check_sender(const core::NamedAddress& sender) {
  check_address(sender.address);
  must(!has_control(sender.name) && mail::valid_utf8(sender.name), "a sender's name is text");
}

void check_rates(const std::vector<core::Rate>& rates) {
  must(rates.size() <= 16, "there are few rates");
  for (const core::Rate& rate : rates) {
    must(between(1, rate.max, 1'000'000'000), "a rate allows something");
    must(between(seconds{1}, rate.period, 366 * k_day), "a rate has a period");
  }
}

void check_limits(const core::LimitsConfig& limits) {
  for (const auto* rates : {&limits.recipient_sends, &limits.recipient_failures, &limits.client_sends,
                            &limits.app_sends, &limits.global_sends})
    check_rates(*rates);
  for (const std::string& domain : limits.fold_dots_domains)
    must(is_host(domain), "a domain is one");
}

void check_daemon(const core::DaemonConfig& daemon) {
  must(is_path(daemon.state_dir) && is_path(daemon.key_file) && is_path(daemon.templates),
       "paths are absolute");
  must(is_socket(daemon.api_socket) && is_socket(daemon.admin_socket), "sockets fit");
  must(daemon.metrics_socket.empty() || is_socket(daemon.metrics_socket), "the metrics' socket fits");
  must(daemon.api_mode <= 0777 && daemon.admin_mode <= 0777, "modes are modes");
  must(daemon.api_socket != daemon.admin_socket, "a socket has one purpose");
}

void check_mail(const core::MailConfig& mail) {
  check_sender(mail.from);
  check_address(mail.bounce_address);
  must(is_host(mail.hostname) && mail.hostname.find(':') == std::string::npos, "the host has a name");
  must(mail.verp == core::Verp::off || mail.bounce_address.local.front() != '"',
       "a return path takes a token");
  must(between(2U, mail.locale.size(), 100U) && !has_control(mail.locale), "there is a locale");
  must(mail.dsn.size() <= 3, "three conditions can be reported");
}

void check_tls(core::TlsMode tls, std::string_view host) {
  must(tls != core::TlsMode::none || host == "localhost" || host == "::1" || host.starts_with("127."),
       "nothing leaves the machine in the clear");
}

void check_relay(const core::RelayConfig& relay, core::Mode mode) {
  must(is_name(relay.name) && relay.name.find('_') == std::string::npos, "a relay has a name");
  must((relay.kind == core::RelayKind::capture) == (mode == core::Mode::development),
       "mail is captured in development, and only there");
  if (relay.kind == core::RelayKind::capture) {
    must(is_path(relay.directory), "a capture has a directory");
  } else {
    must(is_host(relay.host) && is_host(relay.server_name), "a relay has a host");
    check_tls(relay.tls, relay.host);
    must(relay.auth == core::AuthMode::none || relay.auth == core::AuthMode::automatic ||
             !relay.username.empty(),
         "who logs in has a name");
  }
  must(relay.port >= 1, "a relay has a port");
  must(between(1, relay.max_connections, 256) && between(0, relay.priority, 1000),
       "a relay keeps its ranges");
  must(!has_control(relay.username) && is_path_or_empty(relay.ca_file) &&
           is_path_or_empty(relay.password_file),
       "a relay's texts are clean");
  for (const auto& rate : {relay.rate, relay.quota})
    if (rate) check_rates({*rate});
}

void check_bounces(const core::BouncesConfig& bounces) {
  must(is_host(bounces.host) && is_host(bounces.server_name) && bounces.port >= 1, "the mailbox has a host");
  check_tls(bounces.tls, bounces.host);
  must(bounces.auth == core::AuthMode::login || bounces.auth == core::AuthMode::xoauth2,
       "the mailbox has a login");
  for (const std::string* text :
       {&bounces.username, &bounces.mailbox, &bounces.processed, &bounces.unrecognised})
    must(!text->empty() && !has_control(*text), "the mailbox's texts are clean");
  must(bounces.mailbox != bounces.processed && bounces.mailbox != bounces.unrecognised &&
           bounces.processed != bounces.unrecognised,
       "the mailbox has three folders");
  must(between(seconds{1}, bounces.poll, hours{1}), "the mailbox is polled");
}

void check_purpose(const std::string& name, const core::PurposeConfig& purpose) {
  must(is_name(name) && is_name(purpose.template_name), "a purpose has names");
  must(between(seconds{30}, purpose.ttl, k_day), "a code lives 30 s to a day");
  must(between(13.0, purpose.entropy_floor, 60.0), "the floor keeps its range");
  must(core::check_code_spec(purpose.code, purpose.entropy_floor).has_value(), "a code is hard to guess");
  must(between(1, purpose.max_attempts, 20) && between(1, purpose.max_sends, 20),
       "attempts and sends are few");
  must(between(seconds{0}, purpose.cooldown, hours{1}), "the cooldown keeps its range");
  must(purpose.usable_minimum >= seconds{0} && purpose.usable_minimum < purpose.ttl,
       "a code can be sent in time");
}

void check_pauses(const std::vector<core::Millis>& pauses) {
  must(between(1U, pauses.size(), 32U), "there is a pause");
  for (const core::Millis pause : pauses)
    must(between(milliseconds{1}, pause, k_day), "a pause keeps its range");
}

void check_delivery(const core::Config& config) {
  check_pauses(config.delivery.retry);
  check_pauses(config.delivery.retry_templated);
  check_pauses(config.delivery.greylist);
  must(between(0, config.delivery.jitter_percent, 50), "the jitter keeps its range");
  must(between(milliseconds{0}, config.delivery.uncertain_pause, hours{1}), "the pause keeps its range");
  const core::SessionLimits& session = config.session;
  for (const core::Millis limit :
       {session.connect, session.greeting, session.ehlo, session.starttls, session.auth, session.mail,
        session.rcpt, session.data, session.write, session.before_dot, session.dot})
    must(between(milliseconds{10}, limit, minutes{10}), "a phase has a limit");
  must(between(milliseconds{10}, session.idle, hours{1}) &&
           between(milliseconds{10}, session.session_age, k_day) &&
           between(1, session.session_messages, 100'000),
       "a session ends");
  const core::BreakerPolicy& breaker = config.breaker;
  must(between(1, breaker.failures_in_row, 100) && breaker.first <= breaker.most, "a breaker grows");
  for (const core::Millis limit : {breaker.first, breaker.most, breaker.refused, breaker.probe})
    must(between(milliseconds{10}, limit, hours{1}), "a breaker keeps its ranges");
  must(between(1, config.intake.max_open_messages, 1'000'000'000) &&
           between(0, config.intake.min_free_disk, std::int64_t{1} << 50U),
       "the intake keeps its ranges");
}

void check_app(const core::AppConfig& app) {
  must(is_name(app.name), "an app has a name");
  must(!app.users.empty() || !app.uids.empty() || !app.groups.empty() || !app.socket.empty(),
       "an app is somebody");
  must(app.socket.empty() || is_socket(app.socket), "an app's socket fits");
  must(is_path_or_empty(app.templates) && (app.domain.empty() || is_host(app.domain)),
       "an app's texts are clean");
  must(std::find(app.uids.begin(), app.uids.end(), UINT32_MAX) == app.uids.end(), "no uid means none");
  for (const auto* names : {&app.users, &app.groups})
    for (const std::string& name : *names)
      must(between(1U, name.size(), 32U) && !has_control(name), "an account has a name");
  if (app.limits) check_limits(*app.limits);
  if (app.from) check_sender(*app.from);
}

// A peer of the common socket is one app, and names are unique.
void check_apps(const std::vector<core::AppConfig>& apps) {
  std::set<std::string> names;
  std::set<std::uint32_t> uids;
  std::set<std::string> sockets;
  for (const core::AppConfig& app : apps) {
    check_app(app);
    must(names.insert(app.name).second, "apps have names of their own");
    must(app.socket.empty() || sockets.insert(app.socket).second, "apps have sockets of their own");
    if (!app.socket.empty()) continue;
    for (const std::uint32_t uid : app.uids)
      must(uids.insert(uid).second, "a uid is of one app");
  }
}

void check_accepted(const daemon::LoadedConfig& loaded) {
  const core::Config& config = loaded.config;
  check_daemon(config.daemon);
  check_mail(config.mail);
  must(!config.relays.empty(), "there is a relay");
  must(config.daemon.mode == core::Mode::production || config.relays.size() == 1,
       "development has one relay");
  std::set<std::string> names;
  for (const core::RelayConfig& relay : config.relays) {
    check_relay(relay, config.daemon.mode);
    must(names.insert(relay.name).second, "relays have names of their own");
  }
  if (config.bounces) check_bounces(*config.bounces);
  must(config.purposes.contains("login"), "there is the purpose login");
  for (const auto& [name, purpose] : config.purposes)
    check_purpose(name, purpose);
  check_limits(config.limits);
  check_delivery(config);
  must(between(1, config.brake.ratio, 1'000'000) && between(1, config.brake.floor, 1'000'000'000) &&
           between(seconds{10}, config.brake.period, k_day),
       "the brake keeps its ranges");
  check_apps(config.apps);
  for (const core::Seconds kept : {config.retention.challenges, config.retention.messages,
                                   config.retention.events, config.retention.bounces})
    must(between(seconds{1}, kept, 3650 * k_day), "what is kept goes some day");
}

}  // namespace

void check_config(std::string_view text) {
  const auto loaded = daemon::parse_config(text, k_file);
  if (loaded)
    check_accepted(*loaded);
  else
    check_error(loaded.error(), text);
}

}  // namespace mailotp::fuzz
