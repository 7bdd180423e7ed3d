// The message: one mail in the outbox, one recipient. A pure machine; the store runs it inside its
// transaction.
//
//   queued ─claim─► sending ─2xx to the dot─► relayed ─success DSN─► delivered
//     ▲                │                         └────failure DSN───► bounced (a late one also after
//     delivered) │                ├─4xx, net, relay down─► deferred ─due─► queued │                ├─5xx for
//     this recipient or content─► failed │                └─dot sent, no answer─► uncertain ─policy─► queued
//     (same bytes, same Message-ID) | held
//   ends without sending: expired (its code is dead) · superseded (a newer message replaced it) · canceled ·
//   suppressed held ◄─operator─► queued
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/delivery.h"
#include "core/random.h"
#include "core/result.h"
#include "core/time.h"

namespace mailotp::core {

// The numbers are stored: never renumber.
enum class MessageState : std::uint8_t {
  queued = 0,
  sending = 1,
  deferred = 2,
  uncertain = 3,
  held = 4,
  relayed = 5,
  delivered = 6,
  bounced = 7,
  failed = 8,
  expired = 9,
  superseded = 10,
  canceled = 11,
  suppressed = 12,
};
inline constexpr int k_message_states = 13;
[[nodiscard]] std::string_view to_string(MessageState state);
[[nodiscard]] Result<MessageState> parse_message_state(std::string_view name);
// Something may still happen without news from the far side: the body is kept.
[[nodiscard]] constexpr bool is_open(MessageState s) {
  return s <= MessageState::held;
}

enum class MessageKind : std::uint8_t { otp = 0, templated = 1 };
enum class OnUncertain : std::uint8_t { resend = 0, hold = 1 };  // stored: never renumber

// What a page may tell its user. Source: an SMTP reply, a bounce, or our own policy.
enum class VerdictKind : std::uint8_t { undeliverable = 0, delayed = 1, refused = 2, unsent = 3 };
enum class VerdictSource : std::uint8_t { smtp = 0, dsn = 1, policy = 2 };
[[nodiscard]] std::string_view to_string(VerdictKind kind);
[[nodiscard]] std::string_view to_string(VerdictSource source);
struct Verdict {
  VerdictKind kind = VerdictKind::undeliverable;
  std::string verdict_class;  // "user-unknown", "mailbox-full", "expired", …
  bool permanent = false;     // the far side's class: 5yz or 4yz
  std::string status;         // "5.1.1" or empty
  std::string detail;         // printable, at most 300 bytes
  VerdictSource source = VerdictSource::smtp;
  WallTime at;
  bool operator==(const Verdict&) const = default;
};

// due_at of a message for which nothing more is planned.
inline constexpr WallTime k_never{Millis{INT64_MAX / 2}};

// What a message that is not tried now waits for. The numbers are stored: never renumber.
enum class WaitsFor : std::uint8_t {
  its_time = 0,  // due_at
  greylist = 1,  // due_at, and then the same relay
  relay = 2,     // no relay could be reached: due_at, or the moment when one is back
};

// Whether a usable relay is left for a message besides the one that has it (core/relay_choice.h).
enum class OtherRelay : std::uint8_t { none, usable };

// What the machine decides on; the store keeps more beside it.
struct MessageRow {
  MessageState state = MessageState::queued;
  MessageKind kind = MessageKind::otp;
  std::uint32_t attempt = 0;    // fencing token: claims so far
  std::uint32_t attempts = 0;   // charged tries, shown to people; faults of a relay's session are not charged
  std::uint32_t uncertain = 0;  // times it became uncertain, each a possible duplicate; never reset
  std::uint32_t orphaned = 0;   // deaths of the daemon or the agent in a row while it was being sent
  WallTime not_after;           // no attempt after this
  WallTime due_at;  // queued: not_after (the order of claims); deferred, uncertain: the next attempt;
                    // sending: claimed at
  std::uint64_t revision = 0;  // +1 with every visible change
  std::string relay;           // of the last or current attempt
  WaitsFor waits_for = WaitsFor::its_time;
  std::vector<std::string> tried;  // relays that could not be reached since it was queued or due
  std::string refused_by;          // the relay whose refusal gave it its one other relay; `verdict` is what
                                   // that refusal says, and counts if the other relay cannot be used
  std::optional<MessageState> ends_as;  // while sending: if it comes back unsent (superseded, canceled …)
  OnUncertain on_uncertain = OnUncertain::resend;  // hold: its template says so
  std::optional<Reply> reply;                      // the last one
  std::optional<Verdict> verdict;
  bool operator==(const MessageRow&) const = default;
};

// Nothing more is planned and its body is gone: it has ended, or it stays `uncertain` for good because
// nobody knows whether a copy arrived.
[[nodiscard]] inline bool is_over(const MessageRow& row) {
  return !is_open(row.state) || row.due_at == k_never;
}

// ---- Events
struct Claim {
  std::string relay;
};  // handed to the agent
struct AgentLost {
  bool dot_possible;
};                    // the agent died; its last fact says whether the dot may have left
struct Orphaned {};   // found in `sending` when the daemon started
struct Due {};        // due_at is reached
struct NoRelay {};    // every usable relay has been tried in this round, or has refused it
struct RelayBack {};  // a relay can be reached again
struct Supersede {};
struct EndWithChallenge {
  bool expired;
};  // its challenge ended: as `expired`, else as `canceled`
struct Hold {};
struct Release {};  // held → queued
struct Retry {};    // operator: deferred, uncertain, held → queued now
struct Cancel {};
struct Suppress {
  Verdict verdict;
};  // its address has been found dead: no further attempt
// What a report says of it that is traced to it for certain. Where no fact has told yet that a relay has it
// (sending, uncertain), the report does.
struct SuccessDsn {};
struct FailureDsn {
  Verdict verdict;
};
struct DelayDsn {
  Verdict verdict;
};

using MessageEvent = std::variant<Claim, JobDotNext, JobRelayed, JobRefused, JobNotSent, JobUncertain,
                                  AgentLost, Orphaned, Due, NoRelay, RelayBack, Supersede, EndWithChallenge,
                                  Hold, Release, Retry, Cancel, Suppress, SuccessDsn, FailureDsn, DelayDsn>;

// Why the machine did not do what the event asks.
enum class MessageRefusal : std::uint8_t { none = 0, stale, closed, not_now };

struct MessageStep {
  MessageRow row;
  bool changed = false;                           // save the row, append the event
  MessageRefusal refusal = MessageRefusal::none;  // stale: a fact of an attempt that is not in force
  bool erase_content = false;                     // the message has ended: its body goes in this transaction
};

// The delivery policy (docs/RELIABILITY.md: the policy); the decisions are in outbox_policy.cpp, nowhere
// else.
struct DeliveryPolicy {
  std::vector<Millis> retry{Millis{1000},  Millis{3000},  Millis{8000},
                            Millis{15000}, Millis{30000}, Millis{60000}};
  std::vector<Millis> greylist{Millis{60000}, Millis{180000}, Millis{305000}, Millis{425000}};
  OnUncertain uncertain = OnUncertain::resend;
  Millis uncertain_pause{2000};  // before the one repeat of an uncertain message
  int jitter_percent = 20;
  // Templated mail, which is no code: it has days.
  std::vector<Millis> retry_templated{Millis{60'000},  Millis{120'000}, Millis{240'000},
                                      Millis{480'000}, Millis{960'000}, Millis{1'800'000}};
  bool operator==(const DeliveryPolicy&) const = default;
};

// Total: every (state, event) pair has an answer; an event that means nothing leaves the row as it was with a
// refusal. A row whose not_after has passed is never claimed: Claim and Due make it `expired`; a repeat is
// not started in the last seconds before it either. `jitter` is drawn only for a retry. `other` counts for
// facts of an attempt only.
[[nodiscard]] MessageStep step(const MessageRow& row, const MessageEvent& event, const DeliveryPolicy& policy,
                               WallTime now, RandomSource& jitter, OtherRelay other = OtherRelay::none);

}  // namespace mailotp::core
