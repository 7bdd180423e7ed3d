// Rows as values, and what is shown of them.
#pragma once

#include <optional>
#include <string>

#include "core/store.h"
#include "store/keys.h"
#include "store/sqlite.h"

namespace mailotp::store {

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
};

// From a row with the columns that store/statements.cpp lists. Errc::corrupt for what cannot be.
[[nodiscard]] core::Result<ChallengeRecord> read_challenge(const Rows& rows);
[[nodiscard]] core::Result<MessageRecord> read_message(const Rows& rows);

[[nodiscard]] core::MessageView view_of(const MessageRecord& message);
[[nodiscard]] core::ChallengeView view_of(const ChallengeRecord& challenge,
                                          const std::optional<MessageRecord>& message);

}  // namespace mailotp::store
