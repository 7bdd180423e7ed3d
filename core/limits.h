// Limits: how often something may happen in a sliding window, and under which key it is counted. Pure; the
// store keeps the windows.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "core/address.h"
#include "core/config.h"
#include "core/time.h"

namespace mailotp::core {

// Names of limits, as a 429 says them.
inline constexpr std::string_view k_limit_recipient_sends = "recipient_sends";
inline constexpr std::string_view k_limit_recipient_failures = "recipient_failures";
inline constexpr std::string_view k_limit_client_sends = "client_sends";
inline constexpr std::string_view k_limit_app_sends = "app_sends";
inline constexpr std::string_view k_limit_global_sends = "global_sends";
inline constexpr std::string_view k_limit_brake = "brake";

// A device that gave a right code is known for so long.
inline constexpr Seconds k_device_memory{90 * 86400};

// Who asks, as the app tells it.
struct Client {
  std::string network;  // an IPv4 address, or the /64 of an IPv6 one, in one spelling; empty: unknown
  std::string id;       // of the device, at most 128 bytes; empty: unknown
};

// One spelling for all that reach the same mailbox: Address::key(), less a +tag, less dots where the domain
// ignores them. A quoted local part stays as it is.
[[nodiscard]] std::string folded(const Address& address, const LimitsConfig& limits);
// As folded() with every rule on, for all domains: equal for any two addresses that some rules fold together.
[[nodiscard]] std::string folded_most(const Address& address);

// What is in force.
struct LimitRules {
  LimitsConfig common;
  std::map<std::string, LimitsConfig, std::less<>> apps;  // those with limits of their own
  [[nodiscard]] const LimitsConfig& of(std::string_view app) const;
};
[[nodiscard]] LimitRules limit_rules(const Config& config);

}  // namespace mailotp::core
