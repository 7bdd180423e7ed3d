#include "core/outbox_policy.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "core/bounce_class.h"
#include "core/check.h"

namespace mailotp::core {

namespace {

constexpr std::size_t k_max_detail = 300;

std::string lower(std::string_view s) {
  std::string out(s);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

bool is_greylisting(const Reply& reply) {
  if (reply.code != 450 && reply.code != 451) return false;
  if (reply.status == "4.7.1" || reply.status == "4.7.0" || reply.status == "4.2.0") return true;
  const std::string text = lower(reply.text);
  return text.find("grey") != std::string::npos || text.find("gray") != std::string::npos ||
         text.find("try again") != std::string::npos;
}

// Where in the conversation a reply to a command of the message came.
RefusedAt refused_at(Stage stage) {
  if (stage == Stage::mail) return RefusedAt::mail;
  if (stage == Stage::rcpt) return RefusedAt::rcpt;
  return is_session_stage(stage) ? RefusedAt::session : RefusedAt::data;
}

BounceClass class_of(Stage stage, const Reply& reply) {
  return classify({.status = reply.status,
                   .code = reply.code,
                   .diagnostic = reply.text,
                   .remote_host = {},
                   .recipient_domain = {},
                   .at = refused_at(stage)})
      .bounce_class;
}

// Whether every relay would give this 5yz as well. What a relay says of itself, of us, of the size or of the
// content is its own opinion.
bool is_about_recipient(BounceClass bounce_class) {
  switch (bounce_class) {
    case BounceClass::user_unknown:
    case BounceClass::host_unknown:
    case BounceClass::host_not_accepting:
    case BounceClass::mailbox_disabled:
    case BounceClass::mailbox_full:
    case BounceClass::recipient_filtered:
      return true;
    case BounceClass::unknown:
    case BounceClass::expired:
    case BounceClass::network:
    case BounceClass::rate_limited:
    case BounceClass::greylisted:
    case BounceClass::ip_blocked:
    case BounceClass::auth:
    case BounceClass::sender_rejected:
    case BounceClass::spam:
    case BounceClass::content:
    case BounceClass::too_large:
    case BounceClass::policy:
    case BounceClass::security:
    case BounceClass::system:
    case BounceClass::suppressed:
      return false;
  }
  return false;
}

// The pause after the n-th try; the last one repeats.
Millis step_of(const std::vector<Millis>& schedule, std::uint32_t tries) {
  CHECK(!schedule.empty());
  return schedule[std::min<std::size_t>(tries == 0 ? 0 : tries - 1, schedule.size() - 1)];
}

}  // namespace

ReplyMeaning meaning_of(Stage stage, const Reply& reply) {
  // 421 closes the connection, whatever it answers (RFC 5321 section 3.8).
  if (is_session_stage(stage) || !is_refusal(reply) || reply.code == 421) return ReplyMeaning::session;
  if (reply.code < 500) return is_greylisting(reply) ? ReplyMeaning::greylist : ReplyMeaning::retry;
  const BounceClass why = class_of(stage, reply);
  // "Too many recipients" once upon a time (RFC 5321 section 4.5.3.1.10), unless it says that the mailbox is
  // full.
  if (stage == Stage::rcpt && reply.code == 552 && why != BounceClass::mailbox_full)
    return ReplyMeaning::retry;
  // The recipient was accepted, so a refusal of DATA itself is a muddle of that session.
  if (stage == Stage::data) return ReplyMeaning::retry;
  return is_about_recipient(why) ? ReplyMeaning::fail : ReplyMeaning::next_relay;
}

Millis retry_pause(const DeliveryPolicy& policy, MessageKind kind, std::uint32_t tries,
                   RandomSource& jitter) {
  const Millis base = step_of(kind == MessageKind::otp ? policy.retry : policy.retry_templated, tries);
  const auto spread = static_cast<std::uint32_t>(policy.jitter_percent);
  if (spread == 0) return base;
  const auto percent = 100 - spread + uniform_below(jitter, 2 * spread + 1);
  return base * percent / 100;
}

std::optional<Millis> greylist_hint(std::string_view text) {
  const std::string words = lower(text);
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (!std::isdigit(static_cast<unsigned char>(words[i]))) continue;
    std::int64_t number = 0;
    std::size_t end = i;
    while (end < words.size() && std::isdigit(static_cast<unsigned char>(words[end])) && number < 100000)
      number = number * 10 + (words[end++] - '0');
    const std::size_t unit = words.find_first_not_of(' ', end);
    const std::string_view rest =
        unit == std::string::npos ? std::string_view{} : std::string_view(words).substr(unit);
    // "4.7.1" and "<a1@b>" have digits too: only a number with a unit is a hint.
    const bool starts_word = i == 0 || words[i - 1] == ' ' || words[i - 1] == '(' || words[i - 1] == '=';
    std::optional<Millis> hint;
    if (starts_word && rest.starts_with("min")) hint = std::chrono::minutes{number};
    if (starts_word &&
        (rest.starts_with("sec") || rest == "s" || rest.starts_with("s ") || rest.starts_with("s)")))
      hint = Seconds{number};
    if (hint && *hint <= std::chrono::hours{1}) return hint;
    i = end;
  }
  return std::nullopt;
}

Millis greylist_pause(const DeliveryPolicy& policy, std::uint32_t attempts, const Reply& reply) {
  if (const auto hint = greylist_hint(reply.text)) return *hint + Seconds{2};
  return step_of(policy.greylist, attempts);
}

Verdict refusal_verdict(Stage stage, const Reply& reply, WallTime now) {
  Verdict verdict;
  verdict.permanent = reply.code >= 500;
  verdict.status = reply.status;
  verdict.detail = reply.text.substr(0, k_max_detail);
  verdict.source = VerdictSource::smtp;
  verdict.at = now;
  const BounceClass why = class_of(stage, reply);
  verdict.kind = verdict_kind_of(why);
  // The page has one word for what is wrong with our mail itself.
  verdict.verdict_class = to_string(why == BounceClass::too_large ? BounceClass::content : why);
  return verdict;
}

Verdict greylisted_verdict(const Reply& reply, WallTime now) {
  Verdict verdict;
  verdict.kind = VerdictKind::delayed;
  verdict.verdict_class = "greylisted";
  verdict.status = reply.status;
  verdict.detail = reply.text.substr(0, k_max_detail);
  verdict.source = VerdictSource::smtp;
  verdict.at = now;
  return verdict;
}

Verdict expiry_verdict(const MessageRow& row, WallTime now) {
  Verdict verdict;
  verdict.kind = VerdictKind::unsent;
  verdict.verdict_class = "expired";
  verdict.source = VerdictSource::policy;
  verdict.at = now;
  verdict.detail = "its time ended before a relay took it";
  if (row.reply) {
    verdict.status = row.reply->status;
    verdict.detail = (verdict.detail + "; last: " + row.reply->text).substr(0, k_max_detail);
  }
  return verdict;
}

Verdict suppressed_verdict(WallTime now) {
  Verdict verdict;
  verdict.kind = VerdictKind::unsent;
  verdict.verdict_class = "policy";
  verdict.source = VerdictSource::policy;
  verdict.at = now;
  verdict.detail = "its address was found dead while it was being sent";
  return verdict;
}

}  // namespace mailotp::core
