#include "daemon/api/bounce_requests.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/bounce_class.h"
#include "daemon/api/fields.h"
#include "mail/channel/codec.h"

namespace mailotp::daemon {

namespace {

using nlohmann::json;

constexpr std::size_t k_max_message_id = 998;  // RFC 5322 section 2.1.1: a line
constexpr std::size_t k_max_envid = 100;       // RFC 3461 section 5.4
constexpr std::size_t k_max_words = 2000;      // as much as core::classify() looks at

bool is_digits(std::string_view text) {
  return !text.empty() && text.size() <= 3 &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// RFC 3463 section 2.
bool is_status(std::string_view text) {
  if (text.size() < 5 || text[1] != '.' || std::string_view("245").find(text[0]) == std::string_view::npos)
    return false;
  const std::size_t dot = text.find('.', 2);
  return dot != std::string_view::npos && is_digits(text.substr(2, dot - 2)) &&
         is_digits(text.substr(dot + 1));
}

// The actions of RFC 3464 section 2.3.3.
Parsed<core::BounceKind> kind_of(const json& object) {
  const auto action = text_of(object, "action", 16);
  if (!action) return tl::unexpected(action.error());
  if (*action == "failed") return core::BounceKind::bounce;
  if (*action == "delayed") return core::BounceKind::delay;
  if (*action == "delivered" || *action == "relayed" || *action == "expanded")
    return core::BounceKind::success;
  return bad_field("action", "must be failed, delayed, delivered, relayed or expanded");
}

Parsed<std::string> status_of(const json& object, core::BounceKind kind) {
  auto status = text_of(object, "status", 11);
  if (!status || status->empty()) return status;
  if (!is_status(*status))
    return bad_field("status", "must be an enhanced status code such as 5.1.1 (RFC 3463)");
  if ((status->front() == '2') != (kind == core::BounceKind::success))
    return bad_field("status", "does not fit the action: 2.x.x is success, 4.x.x and 5.x.x are failures");
  return status;
}

// "smtp; 550 5.1.1 no such user": the reply code, or 0.
int code_in(std::string_view words) {
  const std::size_t semicolon = words.find(';');
  if (semicolon != std::string_view::npos && semicolon <= 16) words.remove_prefix(semicolon + 1);
  words.remove_prefix(std::min(words.find_first_not_of(' '), words.size()));
  int code = 0;
  const auto [end, error] = std::from_chars(words.data(), words.data() + words.size(), code);
  const bool whole = error == std::errc{} && end - words.data() == 3;
  return whole && code >= 400 && code <= 599 ? code : 0;
}

// The class of the status, else of the reply code; what the words say against them comes first.
std::optional<bool> permanence_of(const core::RefusalClass& why, const std::string& status, int code) {
  if (why.permanent) return why.permanent;
  if (!status.empty()) return status.front() == '5';
  if (code != 0) return code >= 500;
  return std::nullopt;
}

}  // namespace

Parsed<BounceNotice> parse_bounce(std::string_view body) {
  const auto object = parse_object(body, {"message_id", "envid", "action", "status", "diagnostic"});
  if (!object) return tl::unexpected(object.error());
  BounceNotice notice;
  auto message_id = text_of(*object, "message_id", k_max_message_id);
  if (!message_id) return tl::unexpected(message_id.error());
  notice.message_id = std::move(*message_id);
  auto envid = text_of(*object, "envid", k_max_envid);
  if (!envid) return tl::unexpected(envid.error());
  notice.envid = std::move(*envid);
  if (notice.message_id.empty() && notice.envid.empty())
    return bad_field("message_id", "or envid is required");
  const auto kind = kind_of(*object);
  if (!kind) return tl::unexpected(kind.error());
  auto status = status_of(*object, *kind);
  if (!status) return tl::unexpected(status.error());
  const auto words = text_of(*object, "diagnostic", k_max_words);
  if (!words) return tl::unexpected(words.error());

  core::BouncedRecipient& recipient = notice.recipient;
  recipient.kind = *kind;
  recipient.diagnostic = channel::printable(*words, core::k_bounce_diagnostic);
  recipient.status = std::move(*status);
  if (*kind == core::BounceKind::success) return notice;
  const int code = code_in(*words);
  core::RefusalWords said;
  said.status = recipient.status;
  said.code = code;
  said.diagnostic = *words;
  const core::RefusalClass why = core::classify(said);
  recipient.bounce_class = why.bounce_class;
  recipient.null_mx = why.null_mx;
  recipient.permanent = permanence_of(why, recipient.status, code);
  return notice;
}

Parsed<SuppressionRequest> parse_suppression(std::string_view body, core::WallTime now) {
  const auto object = parse_object(body, {"class", "until"});
  if (!object) return tl::unexpected(object.error());
  SuppressionRequest request;
  const auto name = text_of(*object, "class", 40);
  if (!name) return tl::unexpected(name.error());
  const auto bounce_class = core::parse_bounce_class(*name);
  if (!bounce_class) return bad_field("class", "must be a class of bounces, such as user-unknown");
  request.bounce_class = *bounce_class;
  const auto until = text_of(*object, "until", 40);
  if (!until) return tl::unexpected(until.error());
  if (until->empty()) return request;
  const auto time = core::parse_rfc3339(*until);
  if (!time) return bad_field("until", "must be a time such as 2026-11-20T12:10:00Z");
  if (*time <= now) return bad_field("until", "is in the past");
  request.until = *time;
  return request;
}

}  // namespace mailotp::daemon
