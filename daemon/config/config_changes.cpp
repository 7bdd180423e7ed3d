#include "daemon/config/config_changes.h"

#include <algorithm>
#include <utility>

namespace mailotp::daemon {

namespace {

template <class T>
const T* find(const std::vector<T>& all, const std::string& name) {
  const auto found = std::ranges::find(all, name, &T::name);
  return found == all.end() ? nullptr : &*found;
}

template <class T>
NameChanges name_changes(const std::vector<T>& before, const std::vector<T>& after) {
  NameChanges out;
  for (const T& one : after) {
    const T* old = find(before, one.name);
    if (old == nullptr) {
      out.added.push_back(one.name);
    } else if (!(*old == one)) {
      out.changed.push_back(one.name);
    }
  }
  for (const T& one : before) {
    if (find(after, one.name) == nullptr) out.removed.push_back(one.name);
  }
  return out;
}

class Comparing {
 public:
  Comparing(const core::Config& in_force, const core::Config& wanted) : before_(in_force) {
    out_.taken = wanted;
  }

  ConfigChanges run() {
    keep_daemon();
    keep_mode();
    keep_bounces();
    compare_sections();
    compare_agents();
    return std::move(out_);
  }

 private:
  template <class T>
  void keep(const char* key, const T& before, T& after) {
    if (before == after) return;
    out_.needs_restart.emplace_back(key);
    after = before;
  }

  // The folder's lock, the sockets and the log are made once.
  void keep_daemon() {
    const core::DaemonConfig& before = before_.daemon;
    core::DaemonConfig& after = out_.taken.daemon;
    keep("daemon.state_dir", before.state_dir, after.state_dir);
    keep("daemon.api_socket", before.api_socket, after.api_socket);
    keep("daemon.admin_socket", before.admin_socket, after.admin_socket);
    keep("daemon.api_mode", before.api_mode, after.api_mode);
    keep("daemon.admin_mode", before.admin_mode, after.admin_mode);
    keep("daemon.api_group", before.api_group, after.api_group);
    keep("daemon.admin_group", before.admin_group, after.admin_group);
    keep("daemon.metrics_socket", before.metrics_socket, after.metrics_socket);
    keep("daemon.log", before.log, after.log);
    keep("daemon.log_level", before.log_level, after.log_level);
  }

  // Each mode has relays that the other must not use, and a brake of its own.
  void keep_mode() {
    if (before_.daemon.mode == out_.taken.daemon.mode) return;
    keep("daemon.mode", before_.daemon.mode, out_.taken.daemon.mode);
    keep("relay", before_.relays, out_.taken.relays);
    keep("brake", before_.brake, out_.taken.brake);
  }

  // Its agent is there from the start, or not at all.
  void keep_bounces() {
    if (before_.bounces.has_value() != out_.taken.bounces.has_value())
      keep("bounces", before_.bounces, out_.taken.bounces);
  }

  template <class T>
  void section(const char* name, const T& before, const T& after) {
    if (!(before == after)) out_.sections.emplace_back(name);
  }

  void compare_sections() {
    const core::Config& after = out_.taken;
    section("daemon", before_.daemon, after.daemon);
    section("mail", before_.mail, after.mail);
    section("relay", before_.relays, after.relays);
    section("bounces", before_.bounces, after.bounces);
    section("purpose", before_.purposes, after.purposes);
    section("limits", before_.limits, after.limits);
    const bool delivery = before_.delivery == after.delivery && before_.session == after.session &&
                          before_.breaker == after.breaker && before_.intake == after.intake;
    section("delivery", true, delivery);
    section("brake", before_.brake, after.brake);
    section("verdict", before_.verdict, after.verdict);
    section("app", before_.apps, after.apps);
    section("retention", before_.retention, after.retention);
    out_.relays = name_changes(before_.relays, after.relays);
    out_.apps = name_changes(before_.apps, after.apps);
  }

  // What the agent does not see of a relay: when it is chosen.
  static core::RelayConfig as_told(core::RelayConfig relay) {
    const core::RelayConfig standard;
    relay.priority = standard.priority;
    relay.rate = standard.rate;
    relay.quota = standard.quota;
    return relay;
  }

  static std::vector<core::RelayConfig> as_told(const std::vector<core::RelayConfig>& relays) {
    std::vector<core::RelayConfig> out;
    for (const core::RelayConfig& relay : relays)
      out.push_back(as_told(relay));
    return out;
  }

  void compare_agents() {
    const core::Config& after = out_.taken;
    const NameChanges relays = name_changes(as_told(before_.relays), as_told(after.relays));
    out_.smtp_agent = relays.any() || before_.mail.hostname != after.mail.hostname ||
                      before_.mail.dsn != after.mail.dsn || !(before_.session == after.session);
    if (!before_.bounces || !after.bounces) return;
    core::BouncesConfig bounces = *after.bounces;
    bounces.foreign = before_.bounces->foreign;  // the store decides that
    out_.imap_agent = !(*before_.bounces == bounces) ||
                      !(before_.mail.bounce_address == after.mail.bounce_address) ||
                      before_.retention.bounces != after.retention.bounces;
  }

  const core::Config& before_;
  ConfigChanges out_;
};

}  // namespace

ConfigChanges changes_of(const core::Config& in_force, const core::Config& wanted) {
  return Comparing(in_force, wanted).run();
}

bool is_same_server(const core::RelayConfig& a, const core::RelayConfig& b) {
  core::RelayConfig other = b;
  other.max_connections = a.max_connections;
  other.priority = a.priority;
  other.rate = a.rate;
  other.quota = a.quota;
  return a == other;
}

}  // namespace mailotp::daemon
