#include "core/bounce_rules.h"

#include <algorithm>

#include "core/bounce_class.h"

namespace mailotp::core {

namespace {

constexpr std::size_t k_verdict_detail = 300;

std::size_t row_of(BounceClass bounce_class) {
  return static_cast<std::size_t>(bounce_class);
}

// Nothing is said of classes that are not here: soft.
VerdictTable usual_table() {
  using enum BounceClass;
  VerdictTable table;
  const auto set = [&](BounceClass c, VerdictRule rule) { table[row_of(c)] = rule; };
  set(user_unknown, {.weight = VerdictWeight::hard});
  set(host_unknown, {.weight = VerdictWeight::hard, .needed = 2, .within = Seconds{86400}});
  set(host_not_accepting, {.weight = VerdictWeight::hard, .null_mx = true});
  set(mailbox_disabled, {.weight = VerdictWeight::hard, .needed = 3, .within = Seconds{3 * 86400}});
  for (const BounceClass ours : {ip_blocked, auth, sender_rejected, spam, content, too_large, security})
    set(ours, {.weight = VerdictWeight::alarm});
  set(greylisted, {.weight = VerdictWeight::none});
  return table;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

std::string_view domain_of(std::string_view address) {
  const std::size_t at = address.rfind('@');
  return at == std::string_view::npos ? std::string_view{} : address.substr(at + 1);
}

bool within(const PastBounce& one, Seconds time, WallTime now) {
  return one.at > now - time && one.at <= now;
}

// What one failure counts as, its tokens aside.
VerdictWeight weight_of(const BounceEvent& event, std::span<const PastBounce> past, const VerdictTable& table,
                        WallTime now) {
  const VerdictRule& rule = table[row_of(event.bounce_class)];
  if (rule.weight != VerdictWeight::hard) return rule.weight;
  // What the far side itself calls temporary is no proof of death.
  if (event.permanent == false) return VerdictWeight::soft;
  if (rule.null_mx && !event.null_mx) return VerdictWeight::soft;
  const auto before = std::ranges::count_if(past, [&](const PastBounce& one) {
    return one.bounce_class == event.bounce_class && within(one, rule.within, now);
  });
  return before + 1 >= rule.needed ? VerdictWeight::hard : VerdictWeight::soft;
}

// A second word about the same death.
bool confirmed(std::span<const PastBounce> past, const VerdictTable& table, WallTime now) {
  return std::ranges::any_of(past, [&](const PastBounce& one) {
    return table[row_of(one.bounce_class)].weight == VerdictWeight::hard &&
           within(one, k_confirmed_within, now);
  });
}

}  // namespace

std::string_view to_string(VerdictWeight weight) {
  switch (weight) {
    case VerdictWeight::hard:
      return "hard";
    case VerdictWeight::soft:
      return "soft";
    case VerdictWeight::alarm:
      return "alarm";
    case VerdictWeight::none:
      return "none";
  }
  return "";
}

Correlation correlate(const ReturnedTokens& tokens) {
  if (tokens.messages > 1 || tokens.recipients > 1) return Correlation::contradictory;
  if (tokens.messages == 1)
    return tokens.recipients == 1 && !tokens.agree ? Correlation::contradictory : Correlation::message;
  return tokens.recipients == 1 ? Correlation::recipient : Correlation::nothing;
}

TracedBy traced_by(const ReturnedTokens& tokens) {
  if (tokens.messages > 0) return tokens.recipients > 0 ? TracedBy::both : TracedBy::message_token;
  return tokens.recipients > 0 ? TracedBy::recipient_token : TracedBy::nothing;
}

const BouncedRecipient* reported(const BounceReport& report, const std::string& key,
                                 const std::string& domain) {
  const BouncedRecipient* best = nullptr;
  int best_rank = -1;
  for (const BouncedRecipient& one : report.recipients) {
    const std::string address = lower(one.address);
    const int rank = address == lower(key)          ? 3
                     : domain_of(address) == domain ? 2
                     : one.kind == report.kind      ? 1
                                                    : 0;
    if (rank <= best_rank) continue;
    best = &one;
    best_rank = rank;
  }
  return best;
}

VerdictTable verdict_table(const std::map<std::string, VerdictWeight>& words) {
  VerdictTable table = usual_table();
  for (const auto& [name, weight] : words) {
    if (const auto known = parse_bounce_class(name)) table[row_of(*known)] = {.weight = weight};
  }
  return table;
}

Judgement judge(const BounceEvent& event, Correlation correlation, bool left,
                std::span<const PastBounce> past, const VerdictTable& table, WallTime now) {
  Judgement out;
  const bool traced = correlation == Correlation::message || correlation == Correlation::recipient;
  if (!traced || !left) return out;
  switch (event.kind) {
    case BounceKind::none:
    case BounceKind::auto_reply:
      return out;
    case BounceKind::feedback:
      out.weight = VerdictWeight::alarm;
      return out;
    case BounceKind::delay:
      out.tells = true;
      return out;
    case BounceKind::success:
      out.tells = true;
      // Some mail arrived there. Which one is not said where the token is of the recipient alone, and a late
      // report must not outweigh what was heard of a newer mail.
      out.proves = correlation == Correlation::message;
      return out;
    case BounceKind::bounce:
      break;
  }
  out.tells = true;
  out.weight = weight_of(event, past, table, now);
  if (out.weight != VerdictWeight::hard) return out;
  // A return path is seen by others than the far side: alone it marks, and convinces nobody.
  const bool proven = correlation == Correlation::message || confirmed(past, table, now);
  if (!proven) out.weight = VerdictWeight::soft;
  out.suppresses = proven;
  return out;
}

Verdict verdict_of(const BounceEvent& event, const std::string& status, const std::string& diagnostic,
                   WallTime now) {
  Verdict verdict;
  verdict.kind = event.kind == BounceKind::delay ? VerdictKind::delayed : verdict_kind_of(event.bounce_class);
  verdict.verdict_class = to_string(event.bounce_class);
  // A failure that does not say which is final.
  verdict.permanent = event.permanent.value_or(event.kind == BounceKind::bounce);
  verdict.status = status;
  verdict.detail = diagnostic.substr(0, k_verdict_detail);
  verdict.source = event.source == BounceSource::smtp ? VerdictSource::smtp : VerdictSource::dsn;
  verdict.at = now;
  return verdict;
}

Seconds suppressed_for(int times) {
  constexpr std::array k_levels{Seconds{3600}, Seconds{86400}, Seconds{7 * 86400}, Seconds{30 * 86400}};
  const int level = std::clamp(times, 1, static_cast<int>(k_levels.size()));
  return k_levels[static_cast<std::size_t>(level) - 1];
}

}  // namespace mailotp::core
