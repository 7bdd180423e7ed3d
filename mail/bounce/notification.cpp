#include "mail/bounce/notification.h"

#include "mail/bounce/ascii.h"
#include "mail/bounce/reply_words.h"

namespace mailotp::mail {
namespace {

constexpr std::size_t k_json_max = std::size_t{64} * 1024;

// Without one level of escaping; line breaks that a mailer put into the text go too.
std::string unescaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' || text[i] == '\n') continue;
    if (text[i] == '\\' && i + 1 < text.size()) {
      ++i;
      if (text[i] == 'n' || text[i] == 'r' || text[i] == 't') {
        out.push_back(' ');
        continue;
      }
    }
    out.push_back(text[i]);
  }
  return out;
}

// The string value of the member `name` ("\"name\"") at or after `from`, and where it ends; npos when there
// is none.
std::string_view string_member(std::string_view json, std::string_view name, std::size_t& from,
                               std::size_t to) {
  const std::size_t at = json.substr(0, to).find(name, from);
  if (at == std::string_view::npos) {
    from = at;
    return {};
  }
  std::size_t begin = at + name.size();
  while (begin < to && (is_blank(json[begin]) || json[begin] == ':'))
    ++begin;
  if (begin >= to || json[begin] != '"') {
    from = begin;
    return {};
  }
  const std::size_t end = std::min(json.find('"', begin + 1), to);
  from = end;
  return json.substr(begin + 1, end > begin ? end - begin - 1 : 0);
}

core::BounceKind kind_of(std::string_view type) {
  if (type == "Bounce") return core::BounceKind::bounce;
  if (type == "Complaint") return core::BounceKind::feedback;
  if (type == "Delivery") return core::BounceKind::success;
  return type == "DeliveryDelay" ? core::BounceKind::delay : core::BounceKind::none;
}

}  // namespace

JsonNotification read_notification(std::string_view text, std::size_t limit) {
  JsonNotification out;
  text = trim(text).substr(0, k_json_max);
  if (!text.starts_with('{')) return out;
  std::string json = unescaped(text);
  if (json.find("\"notificationType\"") == std::string::npos &&
      json.find("\"eventType\"") == std::string::npos)
    return out;
  std::size_t at = 0;
  std::string_view type = string_member(json, "\"notificationType\"", at, json.size());
  if (type.empty()) type = string_member(json, "\"eventType\"", at = 0, json.size());
  out.kind = kind_of(type);
  if (out.kind != core::BounceKind::bounce && out.kind != core::BounceKind::delay) return out;
  at = 0;
  const std::string_view bounce_type = string_member(json, "\"bounceType\"", at, json.size());
  out.permanent = bounce_type == "Permanent";
  at = json.find(out.kind == core::BounceKind::delay ? "\"delayedRecipients\"" : "\"bouncedRecipients\"");
  if (at == std::string::npos) return out;
  const std::size_t to = std::min(json.find(']', at), json.size());
  while (out.recipients.size() < limit) {
    // One recipient is one object: its members may stand in any order.
    const std::size_t open = json.find('{', at);
    if (open == std::string::npos || open >= to) break;
    const std::size_t close = std::min(json.find('}', open), to);
    std::size_t from = open;
    TextRecipient recipient;
    recipient.address = string_member(json, "\"emailAddress\"", from, close);
    recipient.diagnostic = string_member(json, "\"diagnosticCode\"", from = open, close);
    if (istarts_with(recipient.diagnostic, "smtp;")) recipient.diagnostic.erase(0, 5);
    const std::string_view status = find_status(string_member(json, "\"status\"", from = open, close));
    if (!recipient.address.empty()) {
      out.recipients.push_back(std::move(recipient));
      out.statuses.emplace_back(status);
    }
    at = close;
  }
  return out;
}

}  // namespace mailotp::mail
