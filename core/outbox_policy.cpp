#include "core/outbox_policy.h"

#include <algorithm>
#include <array>
#include <cctype>

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

// Subject and detail of an enhanced status code: "5.1.10" gives "1.10".
std::string_view subject_detail(std::string_view status) {
  const std::size_t dot = status.find('.');
  return dot == std::string_view::npos ? std::string_view{} : status.substr(dot + 1);
}

struct StatusClass {
  std::string_view subject_detail;
  VerdictKind kind;
  std::string_view verdict_class;
};

// RFC 3463, RFC 5248 and RFC 7505 codes that say something definite. What else is under subject 7 is policy.
constexpr std::array k_status_classes{
    StatusClass{"1.0", VerdictKind::undeliverable, "user-unknown"},
    StatusClass{"1.1", VerdictKind::undeliverable, "user-unknown"},
    StatusClass{"1.2", VerdictKind::undeliverable, "host-unknown"},
    StatusClass{"1.3", VerdictKind::undeliverable, "user-unknown"},
    StatusClass{"1.6", VerdictKind::undeliverable, "user-unknown"},
    StatusClass{"1.7", VerdictKind::refused, "sender-rejected"},
    StatusClass{"1.8", VerdictKind::refused, "sender-rejected"},
    StatusClass{"1.10", VerdictKind::undeliverable, "host-not-accepting"},
    StatusClass{"2.0", VerdictKind::undeliverable, "recipient-filtered"},
    StatusClass{"2.1", VerdictKind::undeliverable, "mailbox-disabled"},
    StatusClass{"2.2", VerdictKind::undeliverable, "mailbox-full"},
    StatusClass{"2.3", VerdictKind::refused, "content"},
    StatusClass{"3.2", VerdictKind::undeliverable, "host-not-accepting"},
    StatusClass{"3.4", VerdictKind::refused, "content"},
    StatusClass{"4.4", VerdictKind::undeliverable, "host-unknown"},
    StatusClass{"4.7", VerdictKind::undeliverable, "expired"},
    StatusClass{"6.0", VerdictKind::refused, "content"},
    StatusClass{"7.13", VerdictKind::undeliverable, "mailbox-disabled"},
    StatusClass{"7.17", VerdictKind::undeliverable, "user-unknown"},
};

// A 5yz that every relay would give as well. What a relay says of itself, of us (subject 7, a sender that it
// does not like), of the size or of the content is its own opinion.
bool is_about_recipient(Stage stage, const Reply& reply) {
  const std::string_view detail = subject_detail(reply.status);
  if (detail == "7.13" || detail == "7.17") return true;  // RFC 5248: mailbox disabled, owner changed
  if (detail == "1.7" || detail == "1.8" || detail == "2.3") return false;  // the sender; the length
  if (detail.starts_with("1.") || detail.starts_with("2.")) return true;
  if (detail.starts_with("7.") || detail.starts_with("3.") || detail.starts_with("6.")) return false;
  return stage == Stage::rcpt && (reply.code == 550 || reply.code == 551 || reply.code == 553);
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
  // "Too many recipients" once upon a time (RFC 5321 section 4.5.3.1.10), unless it says that the mailbox is
  // full.
  if (stage == Stage::rcpt && reply.code == 552 && subject_detail(reply.status) != "2.2")
    return ReplyMeaning::retry;
  // The recipient was accepted, so a refusal of DATA itself is a muddle of that session.
  if (stage == Stage::data) return ReplyMeaning::retry;
  return is_about_recipient(stage, reply) ? ReplyMeaning::fail : ReplyMeaning::next_relay;
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
  const std::string_view detail = subject_detail(reply.status);
  const auto* const known = std::ranges::find(k_status_classes, detail, &StatusClass::subject_detail);
  if (known != k_status_classes.end()) {
    verdict.kind = known->kind;
    verdict.verdict_class = known->verdict_class;
  } else if (detail.starts_with("7.")) {
    verdict.kind = VerdictKind::refused;
    verdict.verdict_class = "policy";
  } else if (reply.code == 552) {
    // Too large (RFC 1870 section 6.1); a full mailbox says 5.2.2, and RCPT never comes here without it.
    verdict.kind = VerdictKind::refused;
    verdict.verdict_class = "content";
  } else if (stage == Stage::rcpt && (reply.code == 550 || reply.code == 551 || reply.code == 553)) {
    verdict.kind = VerdictKind::undeliverable;
    verdict.verdict_class = "user-unknown";
  } else {
    verdict.kind = VerdictKind::refused;
    verdict.verdict_class = stage == Stage::mail   ? "sender-rejected"
                            : stage == Stage::rcpt ? "policy"
                                                   : "content";
  }
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
