// The users and groups of the machine, as the rules of [[app]] are checked against them. May block (a
// directory service): for the start and --check only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/result.h"
#include "daemon/config/id_map.h"

namespace mailotp::daemon {

struct Account {
  std::string user;
  std::uint32_t uid = 0;
  std::vector<std::uint32_t> gids;  // primary and supplementary
};

class Accounts {
 public:
  virtual ~Accounts() = default;

  // Errc::not_found: there is none of that name; Errc::unavailable: the system cannot say.
  [[nodiscard]] virtual core::Result<Account> user(const std::string& name) const = 0;
  [[nodiscard]] virtual core::Result<std::uint32_t> group(const std::string& name) const = 0;
  // Every account that the system lists; some directory services list none of theirs.
  [[nodiscard]] virtual std::vector<Account> all() const = 0;
  [[nodiscard]] virtual IdMaps id_maps() const = 0;
};

// By nsswitch.conf(5) and /proc. One thread at a time: getpwent(3) has one place in its list for all.
class SystemAccounts final : public Accounts {
 public:
  [[nodiscard]] core::Result<Account> user(const std::string& name) const override;
  [[nodiscard]] core::Result<std::uint32_t> group(const std::string& name) const override;
  [[nodiscard]] std::vector<Account> all() const override;
  [[nodiscard]] IdMaps id_maps() const override;
};

}  // namespace mailotp::daemon
