#include "core/limits.h"

#include <algorithm>

namespace mailotp::core {

namespace {

bool is_quoted(std::string_view local) {
  return local.starts_with('"');
}

void cut_tag(std::string& local) {
  const std::size_t plus = local.find('+');
  // Of "+tag@…" nothing would be left: a mailbox of that name is its own.
  if (plus != std::string::npos && plus != 0) local.resize(plus);
}

std::string lower_local(const Address& address) {
  std::string key = address.key();
  key.resize(address.local.size());
  return key;
}

}  // namespace

std::string folded(const Address& address, const LimitsConfig& limits) {
  std::string local = lower_local(address);
  if (!is_quoted(local)) {
    if (limits.fold_plus) cut_tag(local);
    if (std::ranges::find(limits.fold_dots_domains, address.domain) != limits.fold_dots_domains.end())
      std::erase(local, '.');
  }
  return local + "@" + address.domain;
}

std::string folded_most(const Address& address) {
  std::string local = lower_local(address);
  if (!is_quoted(local)) {
    cut_tag(local);
    std::erase(local, '.');
  }
  return local + "@" + address.domain;
}

const LimitsConfig& LimitRules::of(std::string_view app) const {
  const auto own = apps.find(app);
  return own == apps.end() ? common : own->second;
}

LimitRules limit_rules(const Config& config) {
  LimitRules rules{config.limits, {}};
  for (const AppConfig& app : config.apps) {
    if (app.limits) rules.apps.emplace(app.name, *app.limits);
  }
  return rules;
}

}  // namespace mailotp::core
