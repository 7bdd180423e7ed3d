#include "core/bounce.h"

#include <array>

namespace mailotp::core {
namespace {

constexpr std::array<std::string_view, k_bounce_kinds> k_kind_names{"none",    "bounce",     "delay",
                                                                    "success", "auto-reply", "feedback"};

constexpr std::array<std::string_view, k_bounce_classes> k_class_names{
    "unknown",      "user-unknown", "host-unknown", "host-not-accepting", "mailbox-disabled",
    "mailbox-full", "expired",      "network",      "recipient-filtered", "rate-limited",
    "greylisted",   "ip-blocked",   "auth",         "sender-rejected",    "spam",
    "content",      "too-large",    "policy",       "security",           "system",
    "suppressed"};

}  // namespace

std::string_view to_string(BounceKind kind) {
  return k_kind_names[static_cast<std::size_t>(kind)];
}

std::string_view to_string(BounceClass bounce_class) {
  return k_class_names[static_cast<std::size_t>(bounce_class)];
}

Result<BounceClass> parse_bounce_class(std::string_view name) {
  for (std::size_t i = 0; i < k_class_names.size(); ++i) {
    if (name == k_class_names[i]) return static_cast<BounceClass>(i);
  }
  return fail(Errc::invalid, "no such class of bounces");
}

}  // namespace mailotp::core
