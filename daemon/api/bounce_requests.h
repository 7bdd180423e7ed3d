// The bodies of the calls about bounces and suppressions: strict JSON, each field checked. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/bounce.h"
#include "core/time.h"
#include "daemon/api/parsed.h"

namespace mailotp::daemon {

// What a provider says of one of our mails.
struct BounceNotice {
  std::string message_id;
  std::string envid;
  core::BouncedRecipient recipient;  // no address: the message's
};
// The class is that of core::classify().
[[nodiscard]] Parsed<BounceNotice> parse_bounce(std::string_view body);

struct SuppressionRequest {
  core::BounceClass bounce_class = core::BounceClass::user_unknown;
  std::optional<core::WallTime> until;
};
[[nodiscard]] Parsed<SuppressionRequest> parse_suppression(std::string_view body, core::WallTime now);

}  // namespace mailotp::daemon
