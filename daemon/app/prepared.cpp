#include "daemon/app/prepared.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/store_rules.h"
#include "daemon/app/named_files.h"
#include "daemon/app/places.h"
#include "daemon/app/senders.h"
#include "daemon/config/accounts.h"
#include "daemon/config/config_file.h"

namespace mailotp::daemon {

using core::Result;

NameChanges template_changes(const std::map<std::string, std::string>& before,
                             const std::map<std::string, std::string>& after) {
  NameChanges out;
  for (const auto& [name, versions] : after) {
    const auto old = before.find(name);
    if (old == before.end()) {
      out.added.push_back(name);
    } else if (old->second != versions) {
      out.changed.push_back(name);
    }
  }
  for (const auto& [name, versions] : before) {
    if (!after.contains(name)) out.removed.push_back(name);
  }
  return out;
}

namespace {

Reloaded report_of(const Prepared& made, const NamedKeys& keys, const Running& running) {
  const ConfigChanges& changes = made.taken.changes;
  Reloaded out;
  out.keys = keys.keys.size();
  out.from_credential = keys.is_credential;
  out.changed = changes.sections;
  out.relays = changes.relays;
  out.apps = changes.apps;
  out.templates = template_changes(running.configured->templates, made.taken.configured->templates);
  if (out.templates.any()) out.changed.emplace_back("templates");
  if (made.keys != running.keys) out.changed.emplace_back("keys");
  out.needs_restart = changes.needs_restart;
  return out;
}

}  // namespace

namespace {

// The next start would refuse it: whoever connects to the socket would wait for ever.
Result<> check_passed(const LoadedConfig& loaded, const std::set<std::string>& passed) {
  for (const std::string& app : passed) {
    if (std::ranges::find(loaded.config.apps, app, &core::AppConfig::name) == loaded.config.apps.end())
      return core::fail(core::Errc::invalid,
                        fmt::format("{}: systemd passes a socket app-{}, and there is no [[app]] \"{}\"",
                                    loaded.path, app, app));
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<Prepared>> prepare(const std::string& path, const Running& running,
                                          const core::BounceTokens& tokens) {
  auto loaded = load_config(path, SystemAccounts());
  if (!loaded) return tl::unexpected(loaded.error());
  if (auto known = check_passed(*loaded, running.passed); !known) return tl::unexpected(known.error());
  auto made = std::make_shared<Prepared>();
  TakenOver& taken = made->taken;
  taken.changes = changes_of(running.configured->config, loaded->config);
  loaded->config = taken.changes.taken;
  auto keys = load_named_keys(*loaded);
  if (!keys) return tl::unexpected(keys.error());
  auto keyed = mail::KeyedTokens::create(keys->ring.token_keys());
  if (!keyed) return tl::unexpected(keyed.error());
  if (auto passwords = check_passwords(*loaded); !passwords) return tl::unexpected(passwords.error());
  auto configured = make_configured(*loaded, tokens);
  if (!configured) return tl::unexpected(configured.error());
  taken.configured = std::move(*configured);
  taken.tokens = std::move(*keyed);
  made->keys = keys->ring.ids();
  made->told = report_of(*made, *keys, running);
  made->order.source = keys->path;
  made->order.keys = std::move(keys->keys);
  made->order.rules = std::make_shared<const core::StoreRules>(
      core::store_rules(taken.configured->config, taken.configured->composer));
  // Last, what leaves a trace on the disk.
  if (auto folders = make_directories(loaded->config); !folders) return tl::unexpected(folders.error());
  taken.sockets_before = app_sockets(running.configured->config, running.passed);
  taken.sockets = app_sockets(loaded->config, running.passed);
  auto opened = open_new_sockets(loaded->config.daemon, taken.sockets_before, taken.sockets);
  if (!opened) return tl::unexpected(opened.error());
  taken.opened = std::move(*opened);
  return made;
}

}  // namespace mailotp::daemon
