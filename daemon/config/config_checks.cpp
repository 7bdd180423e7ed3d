#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "daemon/config/config_sections.h"
#include "daemon/config/units.h"
#include "mail/compose/keyed_tokens.h"

namespace mailotp::daemon {
namespace {

std::string relay_path(std::size_t index, std::string_view key) {
  return fmt::format("relay[{}].{}", index, key);
}

bool is_capture(const core::RelayConfig& relay) {
  return relay.kind == core::RelayKind::capture;
}

void check_mode(const core::Config& config, Findings& findings) {
  const auto& relays = config.relays;
  if (config.daemon.mode == core::Mode::development) {
    if (relays.size() == 1 && is_capture(relays.front())) return;
    findings.refuse(
        "daemon.mode",
        fmt::format("mode \"development\" needs exactly one [[relay]], with kind = \"capture\" and a "
                    "directory; here are {}, {} of kind capture",
                    relays.size(), std::count_if(relays.begin(), relays.end(), is_capture)));
    return;
  }
  if (relays.empty()) findings.refuse(Place{}, "at least one [[relay]] is needed, with name and host");
  for (std::size_t i = 0; i < relays.size(); ++i) {
    if (is_capture(relays[i])) {
      findings.refuse(relay_path(i, "kind"),
                      "kind \"capture\" sends no mail: it is for daemon.mode = \"development\" only");
    }
  }
}

// What a relay and the bounce mailbox have in common: nothing leaves the machine without TLS.
void check_tls(core::TlsMode tls, const std::string& host, const std::string& table, Findings& findings) {
  if (tls != core::TlsMode::none || is_loopback(host)) return;
  findings.refuse(table + ".tls", fmt::format("tls \"none\" is for a host on the loopback (127.0.0.0/8, ::1, "
                                              "localhost) only, not {}; use starttls or implicit",
                                              shown(host)));
}

void check_delivery(const core::Config& config, Findings& findings) {
  if (config.breaker.first > config.breaker.most)
    findings.refuse("delivery.breaker_first", "breaker_first must not be longer than breaker_most");
}

void check_relays(const core::Config& config, Findings& findings) {
  std::set<std::string> names;
  for (std::size_t i = 0; i < config.relays.size(); ++i) {
    const core::RelayConfig& relay = config.relays[i];
    if (!names.insert(relay.name).second) {
      findings.refuse(relay_path(i, "name"),
                      fmt::format("two relays are named \"{}\"; names must be unique", relay.name));
    }
    if (is_capture(relay)) continue;
    if (!relay.directory.empty())
      findings.refuse(relay_path(i, "directory"), "directory is for kind = \"capture\" only");
    check_tls(relay.tls, relay.host, fmt::format("relay[{}]", i), findings);
    const bool auth_by_name = relay.auth != core::AuthMode::none && relay.auth != core::AuthMode::automatic;
    if (auth_by_name && relay.username.empty())
      findings.refuse(relay_path(i, "auth"), "auth plain, login and xoauth2 need a username");
  }
}

// INBOX is one folder in whatever case it is written (RFC 9051 section 5.1).
std::string folder_of(const std::string& name) {
  std::string upper = name;
  for (char& c : upper)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return upper == "INBOX" ? upper : name;
}

void check_bounces(const core::BouncesConfig& bounces, Findings& findings) {
  check_tls(bounces.tls, bounces.host, "bounces", findings);
  const std::string mailbox = folder_of(bounces.mailbox);
  const std::string processed = folder_of(bounces.processed);
  const std::string unrecognised = folder_of(bounces.unrecognised);
  if (processed == mailbox || unrecognised == mailbox)
    findings.refuse("bounces.mailbox", "processed and unrecognised must be other folders than mailbox");
  // What is old in `processed` is removed, what is in `unrecognised` is nobody's to remove.
  if (processed == unrecognised)
    findings.refuse("bounces.processed", "processed and unrecognised must be different folders");
}

// "bounces+TOKEN" must be a local part (RFC 5321 section 4.5.3.1.1: 64 octets).
void check_return_path(const core::MailConfig& mail, Findings& findings) {
  if (mail.verp == core::Verp::off) return;
  if (mail.bounce_address.local.starts_with('"')) {
    findings.refuse("mail.bounce_address",
                    "a quoted local part takes no token; use another address, or verp = \"off\"");
    return;
  }
  constexpr std::size_t k_local_part = 64;
  const bool by_recipient = mail.verp == core::Verp::recipient;
  const std::size_t room =
      k_local_part - 1 - (by_recipient ? mail::k_recipient_token : mail::k_message_token);
  if (mail.bounce_address.local.size() <= room) return;
  findings.refuse(
      "mail.bounce_address",
      fmt::format("what stands before the @ has {} characters: with verp = \"{}\" a token is "
                  "added to it, which leaves room for {}",
                  mail.bounce_address.local.size(), by_recipient ? "recipient" : "message", room));
}

void check_purposes(const core::Config& config, Findings& findings) {
  for (const auto& [name, purpose] : config.purposes) {
    const std::string table = "purpose." + name;
    if (purpose.usable_minimum >= purpose.ttl) {
      findings.refuse(
          table + (findings.is_set(table + ".usable_minimum") ? ".usable_minimum" : ".ttl"),
          fmt::format("usable_minimum ({}) must be less than ttl ({}), else no mail would ever be sent",
                      format_duration(purpose.usable_minimum), format_duration(purpose.ttl)));
    }
    if (const auto ok = core::check_code_spec(purpose.code, purpose.entropy_floor); !ok) {
      findings.refuse(table + (findings.is_set(table + ".length") ? ".length" : ".alphabet"),
                      fmt::format("length {} with alphabet {} is too easy to guess: {}", purpose.code.length,
                                  core::to_string(purpose.code.alphabet), ok.error().what));
    }
  }
}

// A peer must mean one app: a uid, user or group stands in one table only. What two names have in common is
// looked for where the machine's accounts are known (identities.h).
template <class T>
void check_unique(const std::vector<T>& values, std::map<T, std::string>& owners, const std::string& app,
                  const std::string& path, Findings& findings) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto [it, fresh] = owners.emplace(values[i], app);
    if (fresh || it->second == app) continue;
    findings.refuse(fmt::format("{}[{}]", path, i),
                    fmt::format("\"{}\" belongs to app \"{}\" already", values[i], it->second));
  }
}

void check_apps(const core::Config& config, Findings& findings) {
  std::set<std::string> names;
  std::map<std::string, std::string> users;
  std::map<std::string, std::string> groups;
  std::map<std::uint32_t, std::string> uids;
  for (std::size_t i = 0; i < config.apps.size(); ++i) {
    const core::AppConfig& app = config.apps[i];
    const std::string path = fmt::format("app[{}]", i);
    if (!names.insert(app.name).second)
      findings.refuse(path + ".name",
                      fmt::format("two apps are named \"{}\"; names must be unique", app.name));
    if (app.users.empty() && app.uids.empty() && app.groups.empty() && app.socket.empty()) {
      findings.refuse(
          path, fmt::format("app \"{}\" would match nobody: set users, uids, groups or socket", app.name));
    }
    check_unique(app.users, users, app.name, path + ".users", findings);
    check_unique(app.uids, uids, app.name, path + ".uids", findings);
    check_unique(app.groups, groups, app.name, path + ".groups", findings);
  }
}

void check_sockets(const core::Config& config, Findings& findings) {
  std::map<std::string, std::string> owners;
  const auto claim = [&](const std::string& socket, const std::string& path) {
    if (socket.empty()) return;
    const auto [it, fresh] = owners.emplace(socket, path);
    if (!fresh) {
      findings.refuse(path, fmt::format("{} is {} as well; every socket needs a path of its own",
                                        shown(socket), it->second));
    }
  };
  claim(config.daemon.api_socket, "daemon.api_socket");
  claim(config.daemon.admin_socket, "daemon.admin_socket");
  claim(config.daemon.metrics_socket, "daemon.metrics_socket");
  for (std::size_t i = 0; i < config.apps.size(); ++i)
    claim(config.apps[i].socket, fmt::format("app[{}].socket", i));
}

}  // namespace

void check_rules(const core::Config& config, Findings& findings) {
  check_mode(config, findings);
  check_relays(config, findings);
  check_return_path(config.mail, findings);
  check_delivery(config, findings);
  if (config.bounces) check_bounces(*config.bounces, findings);
  check_purposes(config, findings);
  check_apps(config, findings);
  check_sockets(config, findings);
}

}  // namespace mailotp::daemon
