// Why a mail was refused: the class of a refusal, be it a reply heard over SMTP or what a bounce reports.
// Pure and bounded; tables in bounce_class.cpp: what a provider's words mean, then the enhanced status code
// (RFC 3463 and the IANA registry), then words that all use, then the reply code and its stage.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/bounce.h"
#include "core/outbox.h"

namespace mailotp::core {

// Where in the SMTP conversation a refusal came; unknown for most bounces.
enum class RefusedAt : std::uint8_t { unknown, session, mail, rcpt, data };

struct RefusalWords {
  std::string_view status;            // "5.1.1" or empty
  int code = 0;                       // SMTP reply code, or 0
  std::string_view diagnostic;        // any case, any bytes; only the first 2,000 count
  std::string_view remote_host;       // who said it, if known
  std::string_view recipient_domain;  // lower case, if known
  RefusedAt at = RefusedAt::unknown;
};

struct RefusalClass {
  BounceClass bounce_class = BounceClass::unknown;
  // What the words say against the status: "5.0.0" with "over quota" … is what the class says; a text that
  // names a code of its own says that one. Unset: as the status or the code says.
  std::optional<bool> permanent;
  bool null_mx = false;
};

[[nodiscard]] RefusalClass classify(const RefusalWords& words);

// What a page tells its user: undeliverable (the address, its mailbox or host cannot take it) or refused
// (they refuse us or our content).
[[nodiscard]] VerdictKind verdict_kind_of(BounceClass bounce_class);

}  // namespace mailotp::core
