// The accounts of a machine, as a test writes them down.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "daemon/config/accounts.h"

namespace mailotp::daemon {

struct AccountsTable final : Accounts {
  std::vector<Account> accounts;
  std::map<std::string, std::uint32_t> groups;
  std::set<std::string> unlisted;   // known by name only
  std::set<std::string> no_answer;  // names for which the system has none at the moment
  IdMaps maps;

  [[nodiscard]] core::Result<Account> user(const std::string& name) const override {
    if (no_answer.contains(name)) return core::fail(core::Errc::unavailable, "no answer for " + name);
    for (const Account& account : accounts)
      if (account.user == name) return account;
    return core::fail(core::Errc::not_found, "there is no user \"" + name + "\" on this system");
  }
  [[nodiscard]] core::Result<std::uint32_t> group(const std::string& name) const override {
    const auto at = groups.find(name);
    if (at != groups.end()) return at->second;
    return core::fail(core::Errc::not_found, "there is no group \"" + name + "\" on this system");
  }
  [[nodiscard]] std::vector<Account> all() const override {
    std::vector<Account> listed;
    for (const Account& account : accounts)
      if (!unlisted.contains(account.user)) listed.push_back(account);
    return listed;
  }
  [[nodiscard]] IdMaps id_maps() const override { return maps; }
};

inline AccountsTable small_machine() {
  AccountsTable table;
  table.groups = {{"root", 0},  {"www-data", 33}, {"web", 500},     {"site", 500},
                  {"ops", 501}, {"mail", 8},      {"lonely", 7000}, {"nogroup", 65534}};
  table.accounts = {{"root", 0, {0}},          {"www-data", 33, {33, 500}},        {"web-alias", 33, {33}},
                    {"backup", 34, {34, 501}}, {"editor", 1000, {1000, 500, 501}}, {"postman", 1001, {8}},
                    {"nobody", 65534, {65534}}};
  return table;
}

}  // namespace mailotp::daemon
