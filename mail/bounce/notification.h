// Amazon's notifications by mail: the JSON that SES hands to SNS (notificationType or eventType Bounce,
// Complaint, Delivery, DeliveryDelay), plain or as the escaped "Message" of an SNS envelope. No JSON parser:
// the few members are looked for by name, so a cut or broken text gives what can be read.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "core/bounce.h"
#include "mail/bounce/text_report.h"

namespace mailotp::mail {

struct JsonNotification {
  core::BounceKind kind = core::BounceKind::none;
  std::vector<TextRecipient> recipients;  // of a bounce or a delay
  std::vector<std::string> statuses;      // one a recipient, may be empty
  bool permanent = false;                 // bounceType Permanent
};

// Kind none when the text is no such notification.
[[nodiscard]] JsonNotification read_notification(std::string_view text, std::size_t limit);

}  // namespace mailotp::mail
