// What the API shows, as JSON text with the names of the contract (docs/openapi.yaml). Pure.
#pragma once

#include <string>
#include <vector>

#include "core/store.h"
#include "daemon/api/reloaded.h"

namespace mailotp::daemon {

[[nodiscard]] std::string challenge_json(const core::ChallengeView& view);
[[nodiscard]] std::string message_json(const core::MessageView& view);
// `max_attempts` shapes the answer to an address without a challenge, so that it looks like any first wrong
// guess.
[[nodiscard]] std::string check_json(const core::CheckAnswer& answer, int max_attempts);
[[nodiscard]] std::string outbox_json(const core::PageOf<core::MessageView>& page, core::WallTime now);
[[nodiscard]] std::string outbox_item_json(const core::OutboxDetail& detail, core::WallTime now);
// A row of the list by itself.
[[nodiscard]] std::string outbox_row_json(const core::MessageView& view, core::WallTime now);
[[nodiscard]] std::string flushed_json(std::int64_t messages);
// Whose process it was: for operators.
enum class UidShown : std::uint8_t { no, yes };
[[nodiscard]] std::string event_json(const core::EventView& event, const std::string& cursor, UidShown uid);
[[nodiscard]] std::string timeline_json(const core::PageOf<core::TimelineItem>& page);
[[nodiscard]] std::string reloaded_json(const Reloaded& done);
[[nodiscard]] std::string erased_json(std::int64_t rows);
[[nodiscard]] std::string keys_json(const std::vector<core::KeyUse>& keys, core::WallTime now);
[[nodiscard]] std::string stats_json(const core::Stats& stats);
[[nodiscard]] std::string bounce_json(const core::BounceView& bounce);
[[nodiscard]] std::string bounces_json(const core::PageOf<core::BounceView>& page);
[[nodiscard]] std::string suppression_json(const core::SuppressionView& suppression);
[[nodiscard]] std::string suppressions_json(const core::PageOf<core::SuppressionView>& page);
// Of an address whose suppression has been removed.
[[nodiscard]] std::string unsuppressed_json(const std::string& address);
[[nodiscard]] std::string recipient_json(const core::RecipientView& recipient);

// More mails than this that are not ours make it likely that somebody's own mailbox is read: they are told
// of.
inline constexpr std::uint64_t k_foreign_told = 20;

struct ReadyView {
  bool ready = false;
  std::string mode;   // production | development
  std::string store;  // ok, or what is wrong
  struct Relay {
    std::string name;
    std::string state;    // up | down | suspended
    std::string breaker;  // closed | open | half-open
    std::string last_error;
    std::optional<core::WallTime> last_error_at;
    int connections = 0;
  };
  std::vector<Relay> relays;
  std::string bounces;  // up | down | off
  std::uint64_t foreign_mails = 0;
  std::vector<std::string> braked;  // apps whose sends the brake holds
};
enum class Braked : std::uint8_t { hidden, shown };
[[nodiscard]] std::string ready_json(const ReadyView& view, Braked braked);
[[nodiscard]] std::string relays_json(const ReadyView& view);
[[nodiscard]] std::string relay_json(const ReadyView::Relay& relay);
[[nodiscard]] std::string relay_test_json(const std::string& relay, bool ok,
                                          const std::vector<core::TestStep>& steps);
[[nodiscard]] std::string version_json(const std::string& mode);

struct CapturedMail {
  std::string to;
  std::string subject;
  std::string text;
  std::string html;
  std::string raw;
};
[[nodiscard]] std::string captured_json(const core::PageOf<CapturedMail>& page);

}  // namespace mailotp::daemon
