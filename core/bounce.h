// What a mail that came to the bounce address says, as plain values: made by mail/bounce (the scanner and the
// parser, in the agent), carried by mail/channel, judged by core/bounce_rules.h. Three things are kept apart
// (docs/BOUNCES.md): the action (what happened), the permanence (the far side's 5yz or 4yz) and the class
// (why); the verdict is derived from them by a table.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace mailotp::core {

// What the outermost mail is. The numbers travel and are stored: never renumber.
enum class BounceKind : std::uint8_t {
  none = 0,        // a mail of some other kind
  bounce = 1,      // delivery has failed
  delay = 2,       // delivery is late and still tried
  success = 3,     // delivered, relayed on or expanded (RFC 3464 section 2.3.3)
  auto_reply = 4,  // out of office, a read receipt, a challenge that asks the sender to prove himself
  feedback = 5,    // an abuse report (RFC 5965)
};
inline constexpr int k_bounce_kinds = 6;
[[nodiscard]] std::string_view to_string(BounceKind kind);  // "none", "bounce", "delay", "success",
                                                            // "auto-reply", "feedback"

// Why. Stored: never renumber.
enum class BounceClass : std::uint8_t {
  unknown = 0,
  user_unknown = 1,
  host_unknown = 2,
  host_not_accepting = 3,
  mailbox_disabled = 4,
  mailbox_full = 5,
  expired = 6,
  network = 7,
  recipient_filtered = 8,
  rate_limited = 9,
  greylisted = 10,
  ip_blocked = 11,
  auth = 12,
  sender_rejected = 13,
  spam = 14,
  content = 15,
  too_large = 16,
  policy = 17,
  security = 18,
  system = 19,
  suppressed = 20,
};
inline constexpr int k_bounce_classes = 21;
[[nodiscard]] std::string_view to_string(
    BounceClass bounce_class);  // "user-unknown", … as [verdict] names them
[[nodiscard]] Result<BounceClass> parse_bounce_class(std::string_view name);  // Errc::invalid

// What happened to one recipient.
struct BouncedRecipient {
  std::string address;                   // as the mail names it, printable, at most 320 bytes; may be empty
  BounceKind kind = BounceKind::bounce;  // bounce, delay or success
  std::optional<bool> permanent;         // the far side's class: true 5yz, false 4yz; unset: it does not say
  std::string status;                    // enhanced status code (RFC 3463) "5.1.1", or empty
  std::string diagnostic;                // printable, at most 300 bytes
  std::string remote_host;               // who said it, lower case; may be empty
  BounceClass bounce_class = BounceClass::unknown;
  bool null_mx = false;  // the domain says that it takes no mail (RFC 7505)
  bool operator==(const BouncedRecipient&) const = default;
};

inline constexpr std::size_t k_bounced_recipients = 8;  // of one report; ours have one recipient each
inline constexpr std::size_t k_bounce_diagnostic = 300;
inline constexpr std::size_t k_bounce_rule = 40;

struct BounceReport {
  BounceKind kind = BounceKind::none;
  std::string
      rule;  // which rule decided, as "dsn-fields", "exim-text": a name from the program, at most 40 bytes
  std::vector<BouncedRecipient> recipients;

  // What leads back to one of our mails; each unverified, at most k_returned_tokens of a sort.
  std::vector<std::string> envids;  // Original-Envelope-Id
  std::vector<std::string>
      message_ids;                   // of the returned original, then In-Reply-To and References; no brackets
  std::vector<std::string> headers;  // values of k_token_header in the returned original
  bool operator==(const BounceReport&) const = default;
};
inline constexpr std::size_t k_returned_tokens = 4;
inline constexpr std::size_t k_returned_token = 200;  // bytes of each; a longer one is left out

// The header of our mails that carries the token of the message: some providers replace the Message-ID.
inline constexpr std::string_view k_token_header = "X-Mailotp-Message";

}  // namespace mailotp::core
