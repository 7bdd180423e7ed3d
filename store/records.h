// Rows as values, and what is shown of them.
#pragma once

#include <optional>
#include <string>

#include "core/store.h"
#include "store/keys.h"
#include "store/sqlite.h"

namespace mailotp::store {

// Under which keys a challenge's mails and failures are counted: keyed hashes, see limits.h.
struct BudgetKeys {
  std::string recipient;
  std::string network;  // empty: the app did not name the client's address
  std::string device;   // empty: … nor its device
};

struct ChallengeRecord {
  std::int64_t n = 0;
  core::Id id;
  std::int64_t recipient = 0;
  std::string app;
  std::string purpose;
  std::string mailbox;
  core::WallTime created_at;
  core::ChallengeRow row;
  std::optional<std::int64_t> message;  // the current one
  core::ResendMode resend = core::ResendMode::same;
  core::CodeSpec code;
  std::string template_name;
  std::string locale;
  std::string metadata;
  // Until it ends:
  KeyId key = 0;
  std::string code_mac;
  std::string binding_mac;  // empty: not bound
  std::string kept_code;    // sealed; empty: nothing more is sent, or each mail has a code of its own
  std::string data;         // sealed: the variables and the binding, for a resend
  BudgetKeys budget;
};

// Of a challenge what time and its mails change: of `row` the state, expires_at and revision.
struct ChallengeClock {
  std::int64_t n = 0;
  core::ChallengeRow row;
};

struct MessageRecord {
  std::int64_t n = 0;
  core::Id id;
  std::optional<core::Id> challenge;
  std::optional<std::int64_t> previous;  // of the same challenge
  bool current = true;
  std::int64_t recipient = 0;
  std::string app;
  std::string mailbox;
  core::WallTime created_at;
  core::MessageRow row;
  std::string message_id;
  std::string template_name;
  std::string template_version;
  std::string locale;
  std::string metadata;
  std::optional<core::WallTime> ended_at;  // nothing more was planned since then
};

struct SuppressionRecord {
  std::int64_t n = 0;
  std::int64_t recipient = 0;
  std::string app;  // empty: for all, an operator's
  core::BounceClass bounce_class = core::BounceClass::user_unknown;
  std::string mailbox;
  core::WallTime since;
  core::WallTime until;  // k_never: until it is removed
  std::optional<core::WallTime> probe_at;
  core::BounceSource source = core::BounceSource::dsn;
  int times = 1;
  std::optional<core::Id> probe;           // the mail that was let through last, while it is awaited
  std::optional<core::WallTime> check_at;  // when to look what became of it
};

// From a row with the columns that store/statements.cpp lists. Errc::corrupt for what cannot be.
[[nodiscard]] core::Result<ChallengeClock> read_challenge_clock(const Rows& rows);
[[nodiscard]] core::Result<ChallengeRecord> read_challenge(const Rows& rows);
[[nodiscard]] core::Result<MessageRecord> read_message(const Rows& rows);
[[nodiscard]] core::Result<SuppressionRecord> read_suppression(const Rows& rows);
[[nodiscard]] core::Result<core::BounceView> read_bounce(const Rows& rows);
[[nodiscard]] core::Result<core::EventView> read_event(const Rows& rows);
// What is known of a recipient through one app.
struct Evidence {
  std::string app;
  std::optional<core::WallTime> proven_at;
  std::optional<core::WallTime> doubted_at;
  bool hard = false;
  std::optional<core::Verdict> verdict;
};
[[nodiscard]] core::Result<Evidence> read_evidence(const Rows& rows);

[[nodiscard]] core::MessageView view_of(const MessageRecord& message);
[[nodiscard]] core::SuppressionView view_of(const SuppressionRecord& suppression);
[[nodiscard]] core::ChallengeView view_of(const ChallengeRecord& challenge,
                                          const std::optional<MessageRecord>& message);

}  // namespace mailotp::store
