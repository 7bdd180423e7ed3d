// The words for stored and travelling numbers.
#include <array>

#include "core/composer.h"
#include "core/delivery.h"
#include "core/outbox.h"
#include "core/store.h"

namespace mailotp::core {

bool is_needed(const KeyUse& key, WallTime now) {
  const auto ahead = [now](const std::optional<WallTime>& until) { return until && *until > now; };
  return !key.retired_at || key.challenges || key.messages || ahead(key.answers_until) ||
         ahead(key.bounces_until);
}

namespace {

constexpr std::array<std::string_view, k_stages> k_stage_names{
    "local", "dns",  "connect", "tls",  "greeting", "ehlo", "starttls",
    "auth",  "mail", "rcpt",    "data", "body",     "dot"};
constexpr std::array<std::string_view, k_message_states> k_message_state_names{
    "queued",  "sending", "deferred", "uncertain",  "held",     "relayed",   "delivered",
    "bounced", "failed",  "expired",  "superseded", "canceled", "suppressed"};

}  // namespace

std::string_view to_string(Stage stage) {
  return k_stage_names[static_cast<std::size_t>(stage)];
}

std::string_view to_string(MessageState state) {
  return k_message_state_names[static_cast<std::size_t>(state)];
}

std::string_view to_string(TemplateOrigin origin) {
  switch (origin) {
    case TemplateOrigin::installed:
      return "installed";
    case TemplateOrigin::overridden:
      return "overridden";
    case TemplateOrigin::own:
      return "own";
  }
  return "";
}

Result<MessageState> parse_message_state(std::string_view name) {
  for (std::size_t i = 0; i < k_message_state_names.size(); ++i) {
    if (name == k_message_state_names[i]) return static_cast<MessageState>(i);
  }
  return fail(Errc::invalid, "no such message state");
}

std::string_view to_string(VerdictKind kind) {
  switch (kind) {
    case VerdictKind::undeliverable:
      return "undeliverable";
    case VerdictKind::delayed:
      return "delayed";
    case VerdictKind::refused:
      return "refused";
    case VerdictKind::unsent:
      return "unsent";
  }
  return "";
}

std::string_view to_string(VerdictSource source) {
  switch (source) {
    case VerdictSource::smtp:
      return "smtp";
    case VerdictSource::dsn:
      return "dsn";
    case VerdictSource::policy:
      return "policy";
  }
  return "";
}

std::string_view to_string(CheckResult result) {
  switch (result) {
    case CheckResult::valid:
      return "valid";
    case CheckResult::invalid:
      return "invalid";
    case CheckResult::exhausted:
      return "exhausted";
    case CheckResult::expired:
      return "expired";
    case CheckResult::already_used:
      return "already_used";
    case CheckResult::canceled:
      return "canceled";
    case CheckResult::binding_mismatch:
      return "binding_mismatch";
  }
  return "";
}

std::string_view to_string(MessageOrder order) {
  switch (order) {
    case MessageOrder::retry:
      return "retry";
    case MessageOrder::hold:
      return "hold";
    case MessageOrder::release:
      return "release";
    case MessageOrder::cancel:
      return "cancel";
  }
  return "";
}

std::string_view to_string(MailFate fate) {
  switch (fate) {
    case MailFate::leave:
      return "left";
    case MailFate::processed:
      return "processed";
    case MailFate::unrecognised:
      return "unrecognised";
  }
  return "";
}

std::string_view to_string(BounceSource source) {
  switch (source) {
    case BounceSource::dsn:
      return "dsn";
    case BounceSource::smtp:
      return "smtp";
    case BounceSource::provider:
      return "provider";
  }
  return "";
}

std::string_view to_string(Deliverable deliverable) {
  switch (deliverable) {
    case Deliverable::unknown:
      return "unknown";
    case Deliverable::yes:
      return "yes";
    case Deliverable::no:
      return "no";
  }
  return "";
}

bool is_of_mailbox(const Command& command) {
  return std::holds_alternative<OpenMailbox>(command) || std::holds_alternative<RecordMail>(command) ||
         std::holds_alternative<RecordPoison>(command) || std::holds_alternative<RecordMoved>(command);
}

}  // namespace mailotp::core
