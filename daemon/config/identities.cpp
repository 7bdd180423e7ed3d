#include "daemon/config/identities.h"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/check.h"

namespace mailotp::daemon {
namespace {

using core::AppIndex;

// Where the file gives an id to an app.
struct Claim {
  AppIndex app = 0;
  std::string path;  // as in Findings
  std::string said;  // user "www-data" (uid 33)
};

using Claims = std::map<std::uint32_t, Claim>;

class Resolving {
 public:
  Resolving(const core::Config& config, const Accounts& accounts, Findings& findings)
      : config_(config), accounts_(accounts), findings_(findings), maps_(accounts.id_maps()) {
    if (!maps_.uids.is_whole()) rules_.hidden_uid = maps_.overflow_uid;
    if (!maps_.gids.is_whole()) rules_.hidden_gid = maps_.overflow_gid;
  }

  core::AppRules run() {
    check_group("daemon.api_group", config_.daemon.api_group);
    check_group("daemon.admin_group", config_.daemon.admin_group);
    for (AppIndex i = 0; i < config_.apps.size(); ++i)
      take_app(i);
    for (const auto& [id, claim] : uids_)
      rules_.uids.emplace(id, claim.app);
    for (const auto& [id, claim] : gids_)
      rules_.gids.emplace(id, claim.app);
    if (findings_.clean()) check_accounts();
    return rules_;
  }

 private:
  void check_group(const std::string& path, const std::string& name) {
    if (name.empty()) return;
    if (const auto gid = accounts_.group(name); !gid) findings_.refuse(path, gid.error().what);
  }

  void take_app(AppIndex index) {
    const core::AppConfig& app = config_.apps[index];
    const auto path = [index](const char* key, std::size_t entry) {
      return fmt::format("app[{}].{}[{}]", index, key, entry);
    };
    for (std::size_t i = 0; i < app.users.size(); ++i) {
      auto account = accounts_.user(app.users[i]);
      if (!account) {
        findings_.refuse(path("users", i), account.error().what);
        continue;
      }
      claim_uid(account->uid,
                {index, path("users", i), fmt::format("user \"{}\" (uid {})", app.users[i], account->uid)});
      named_.push_back(std::move(*account));
    }
    for (std::size_t i = 0; i < app.uids.size(); ++i)
      claim_uid(app.uids[i], {index, path("uids", i), fmt::format("uid {}", app.uids[i])});
    for (std::size_t i = 0; i < app.groups.size(); ++i) {
      if (const auto gid = accounts_.group(app.groups[i])) {
        claim_gid(*gid,
                  {index, path("groups", i), fmt::format("group \"{}\" (gid {})", app.groups[i], *gid)});
      } else {
        findings_.refuse(path("groups", i), gid.error().what);
      }
    }
  }

  void claim_uid(std::uint32_t uid, Claim claim) {
    if (rules_.hidden_uid && (!maps_.uids.maps(uid) || uid == *rules_.hidden_uid))
      return refuse_hidden(claim, *rules_.hidden_uid);
    take(uids_, uid, std::move(claim));
  }

  void claim_gid(std::uint32_t gid, Claim claim) {
    if (rules_.hidden_gid && (!maps_.gids.maps(gid) || gid == *rules_.hidden_gid))
      return refuse_hidden(claim, *rules_.hidden_gid);
    take(gids_, gid, std::move(claim));
  }

  void refuse_hidden(const Claim& claim, std::uint32_t overflow) {
    findings_.refuse(
        claim.path,
        fmt::format("{} cannot be known here: the user namespace of this process hides it, and everybody "
                    "outside would look like {}; run without that namespace (systemd: PrivateUsers=no), or "
                    "give app \"{}\" a socket of its own in place of users, uids and groups",
                    claim.said, overflow, name_of(claim.app)));
  }

  void take(Claims& claims, std::uint32_t id, Claim claim) {
    const auto [at, fresh] = claims.try_emplace(id, claim);
    if (fresh || at->second.app == claim.app) return;
    findings_.refuse(claim.path, fmt::format("{} belongs to app \"{}\" already, as {}", claim.said,
                                             name_of(at->second.app), at->second.said));
  }

  // An account that two apps' rules fit could be neither. One line for two apps, however many such accounts
  // there are.
  void check_accounts() {
    if (gids_.empty()) return;  // an account has one uid, and an uid one app
    std::vector<Account> every = accounts_.all();
    every.insert(every.end(), named_.begin(), named_.end());  // not every source lists its accounts
    std::set<std::pair<AppIndex, AppIndex>> told;
    for (const Account& account : every) {
      const auto apps = core::matching_apps(rules_, {account.uid, account.gids});
      for (std::size_t i = 1; i < apps.size(); ++i) {
        if (!told.emplace(apps[0], apps[i]).second) continue;
        const Claim& one = claim_on(account, apps[0]);
        const Claim& other = claim_on(account, apps[i]);
        findings_.refuse(
            other.path,
            fmt::format("user \"{}\" would be two apps: \"{}\" by {}, and \"{}\" by {}; a peer must be one",
                        shown(account.user), name_of(apps[0]), one.said, name_of(apps[i]), other.said));
      }
    }
  }

  // By which of its ids the account is the app.
  const Claim& claim_on(const Account& account, AppIndex app) const {
    const Claim* found = nullptr;
    for (const std::uint32_t id : account.gids) {
      if (const auto gid = gids_.find(id); gid != gids_.end() && gid->second.app == app) found = &gid->second;
    }
    if (const auto uid = uids_.find(account.uid); uid != uids_.end() && uid->second.app == app)
      found = &uid->second;
    CHECK(found != nullptr);
    return *found;
  }

  const std::string& name_of(AppIndex app) const { return config_.apps[app].name; }

  const core::Config& config_;
  const Accounts& accounts_;
  Findings& findings_;
  const IdMaps maps_;
  core::AppRules rules_;
  Claims uids_;
  Claims gids_;
  std::vector<Account> named_;
};

}  // namespace

core::AppRules resolve_apps(const core::Config& config, const Accounts& accounts, Findings& findings) {
  return Resolving(config, accounts, findings).run();
}

}  // namespace mailotp::daemon
