// From request bodies to typed requests: strict JSON, each field checked, defaults from the purpose's
// configuration. A request may only tighten what its purpose says, and its app use only its own purposes.
// Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/address.h"
#include "core/config.h"
#include "core/secret.h"
#include "core/store.h"
#include "daemon/api/parsed.h"

namespace mailotp::daemon {

enum class SendNow { yes, no };

struct CreateRequest {
  core::Address recipient;
  std::string purpose;
  std::string locale;
  std::string template_name;
  core::ChallengeTerms terms;
  core::Secret variables;  // JSON object text, or empty
  core::Secret binding;    // canonical: JSON object text with sorted keys, or empty
  std::string metadata;    // JSON text, or empty
  SendNow send = SendNow::yes;
  core::SuppressedUse suppressed = core::SuppressedUse::refuse;
  core::Client client;
};

struct CheckRequest {
  core::Secret code;
  core::Secret binding;
  std::string client_id;  // of the device; empty: the request names none
};

struct GenerateRequest {
  core::Address recipient;
  std::string purpose;
  core::Client client;
};

struct VerifyRequest {
  core::Address recipient;
  std::string purpose;
  core::Secret code;
  std::string client_id;
};

// A templated mail that is no code may be on its way for so long; less where the request says so.
inline constexpr core::Millis k_message_life = core::Seconds{5 * 86400};

struct MessageRequest {
  core::Address recipient;
  std::string template_name;
  std::string locale;
  core::Secret variables;  // JSON object text, or empty
  core::WallTime not_after;
  std::string metadata;  // JSON text, or empty
};

[[nodiscard]] Parsed<CreateRequest> parse_create(std::string_view body, const core::Config& config,
                                                 const core::AppConfig& app);
[[nodiscard]] Parsed<CheckRequest> parse_check(std::string_view body);
[[nodiscard]] Parsed<GenerateRequest> parse_generate(std::string_view body, const core::Config& config,
                                                     const core::AppConfig& app);
[[nodiscard]] Parsed<VerifyRequest> parse_verify(std::string_view body, const core::Config& config,
                                                 const core::AppConfig& app);
[[nodiscard]] Parsed<MessageRequest> parse_message(std::string_view body, const core::Config& config,
                                                   core::WallTime now);
// {"recipient"}: whom to erase.
[[nodiscard]] Parsed<core::Address> parse_erase(std::string_view body);
// A body that must say nothing: empty, or {}.
[[nodiscard]] Parsed<bool> parse_nothing(std::string_view body);

// The terms of a purpose as they stand in the configuration.
[[nodiscard]] core::ChallengeTerms terms_of(const core::PurposeConfig& purpose);

}  // namespace mailotp::daemon
