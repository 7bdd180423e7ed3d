// The configuration as one typed value: every key of /etc/mailotpd/mailotpd.toml. Units live in types;
// defaults are here and nowhere else. daemon/config_file.cpp reads the file; what it returns satisfies every
// range below.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/address.h"
#include "core/breaker.h"
#include "core/code.h"
#include "core/delivery.h"
#include "core/log.h"
#include "core/outbox.h"
#include "core/rate.h"
#include "core/time.h"

namespace mailotp::core {

enum class Mode : std::uint8_t { production, development };
enum class LogFormat : std::uint8_t { automatic, text, json, journal };
enum class Verp : std::uint8_t { recipient, message, off };
enum class ResendMode : std::uint8_t { same, fresh };  // "same" | "new"
enum class ForeignMail : std::uint8_t { leave, move };
enum class VerdictWeight : std::uint8_t { hard, soft, alarm, none };

struct DaemonConfig {
  Mode mode = Mode::production;
  std::string state_dir = "/var/lib/mailotpd";
  std::string api_socket = "/run/mailotpd/api.sock";
  std::string admin_socket = "/run/mailotpd/admin.sock";
  std::uint32_t api_mode = 0660;
  std::uint32_t admin_mode = 0660;
  std::string api_group;
  std::string admin_group;
  std::string metrics_socket;
  std::string key_file = "/etc/mailotpd/otp.key";
  std::string templates = "/etc/mailotpd/templates";
  LogFormat log = LogFormat::automatic;
  LogLevel log_level = LogLevel::info;  // the least that is logged; debug: with recipients in full
  bool operator==(const DaemonConfig&) const = default;
};

struct MailConfig {
  NamedAddress from;
  Address bounce_address;
  std::string hostname;
  Verp verp = Verp::recipient;
  std::vector<std::string> dsn{"failure", "delay"};
  std::string locale = "en";
  bool operator==(const MailConfig&) const = default;
};

struct RelayConfig {
  std::string name;
  RelayKind kind = RelayKind::smtp;
  std::string directory;  // capture only
  std::string host;
  std::uint16_t port = 587;
  TlsMode tls = TlsMode::starttls;
  std::string server_name;  // empty: host
  std::string ca_file;
  AuthMode auth = AuthMode::automatic;
  std::string username;
  std::string password_file;
  int max_connections = 8;  // 1 to 256
  int priority = 10;
  std::optional<Rate> rate;
  std::optional<Rate> quota;
  bool operator==(const RelayConfig&) const = default;
};

struct BouncesConfig {
  std::string host;
  std::uint16_t port = 993;
  TlsMode tls = TlsMode::implicit;
  std::string server_name;
  std::string ca_file;
  AuthMode auth = AuthMode::login;
  std::string username;
  std::string password_file;
  std::string mailbox = "INBOX";
  std::string processed = "Processed";
  std::string unrecognised = "Unrecognised";
  ForeignMail foreign = ForeignMail::leave;
  Seconds poll{60};  // 1 s to 1 h: the mailbox is looked at so often although it tells of new mail
  bool operator==(const BouncesConfig&) const = default;
};

struct PurposeConfig {
  std::string template_name = "otp";
  Seconds ttl{600};  // 30 s to 24 h
  CodeSpec code;
  double entropy_floor = k_default_entropy_floor;  // bits; key `entropy_floor`
  int max_attempts = 5;                            // 1 to 20
  int max_sends = 5;                               // 1 to 20
  Seconds cooldown{30};                            // 0 to 1 h
  ResendMode resend = ResendMode::same;
  Seconds usable_minimum{60};  // less than ttl
  bool operator==(const PurposeConfig&) const = default;
};

using Purposes = std::map<std::string, PurposeConfig>;

// The purposes that are there without a table of their own. A table changes single keys; one of another name
// begins with what `login` is by default.
[[nodiscard]] inline Purposes preset_purposes() {
  // Whoever validates an address comes back to the mail, perhaps tomorrow; a recovery gives more away than a
  // login. Both have longer codes, as they live longer.
  PurposeConfig address_validation;
  address_validation.ttl = Seconds{86400};
  address_validation.code.length = 8;
  PurposeConfig recovery;
  recovery.ttl = Seconds{3600};
  recovery.code.length = 8;
  return {{"login", {}}, {"address_validation", address_validation}, {"recovery", recovery}};
}

struct LimitsConfig {
  std::vector<Rate> recipient_sends{{3, Seconds{900}}, {5, Seconds{3600}}};
  std::vector<Rate> recipient_failures{{20, Seconds{86400}}};
  bool fold_plus = true;
  std::vector<std::string> fold_dots_domains{"gmail.com", "googlemail.com"};
  std::vector<Rate> client_sends{{30, Seconds{3600}}};
  std::vector<Rate> app_sends;
  std::vector<Rate> global_sends;
  bool operator==(const LimitsConfig&) const = default;
};

// How much is taken before new work is refused.
struct IntakeConfig {
  std::int64_t max_open_messages = 1'000'000;
  std::int64_t min_free_disk = 64LL << 20;  // bytes in the state folder; 0: not looked at
  bool operator==(const IntakeConfig&) const = default;
};

struct BrakeConfig {
  int ratio = 20;
  int floor = 200;
  Seconds period{600};
  bool operator==(const BrakeConfig&) const = default;
};

struct AppConfig {
  std::string name;
  std::vector<std::string> users;
  std::vector<std::uint32_t> uids;
  std::vector<std::string> groups;
  std::string socket;
  std::optional<LimitsConfig> limits;
  std::string templates;
  std::vector<std::string> purposes;  // empty: all
  std::optional<NamedAddress> from;
  std::string domain;
  bool operator==(const AppConfig&) const = default;
};

[[nodiscard]] inline bool may_use(const AppConfig& app, const std::string& purpose) {
  return app.purposes.empty() ||
         std::find(app.purposes.begin(), app.purposes.end(), purpose) != app.purposes.end();
}

struct RetentionConfig {
  Seconds challenges{86400};
  Seconds messages{30 * 86400};
  Seconds events{90 * 86400};
  Seconds bounces{30 * 86400};
  bool operator==(const RetentionConfig&) const = default;
};

struct Config {
  DaemonConfig daemon;
  MailConfig mail;
  std::vector<RelayConfig> relays;
  std::optional<BouncesConfig> bounces;
  Purposes purposes;  // the presets are always there
  LimitsConfig limits;
  DeliveryPolicy delivery;  // these four are [delivery]
  SessionLimits session;
  BreakerPolicy breaker;
  IntakeConfig intake;
  BrakeConfig brake;
  std::map<std::string, VerdictWeight> verdict;
  std::vector<AppConfig> apps;
  RetentionConfig retention;
};

}  // namespace mailotp::core
