#include "core/bounce_words.h"

#include <algorithm>
#include <array>

#include "core/phrase_index.h"

namespace mailotp::core::words {
namespace {

using enum BounceClass;
using enum Weight;

constexpr auto k_phrases = std::to_array<Phrase>({
#include "core/bounce_phrases.inc"
});

// What the reporting MTA says of the conversation, not why it failed.
constexpr auto k_stage_phrases = std::to_array<StagePhrase>({
    {"after initial connection", RefusedAt::session},
    {"while performing the ehlo", RefusedAt::session},
    {"in reply to helo", RefusedAt::session},
    {"in reply to ehlo", RefusedAt::session},
    {"refused to talk to me", RefusedAt::session},
    {"did not like our ehlo", RefusedAt::session},
    {"in reply to mail from", RefusedAt::mail},
    {"after mail from", RefusedAt::mail},
    {"after pipelined mail from", RefusedAt::mail},
    {"did not like our mail from", RefusedAt::mail},
    {"but sender was rejected", RefusedAt::mail},
    {"[mail_from]", RefusedAt::mail},
    {"in reply to rcpt to", RefusedAt::rcpt},
    {"after rcpt to", RefusedAt::rcpt},
    {"after rcpt command", RefusedAt::rcpt},
    {"after pipelined rcpt to", RefusedAt::rcpt},
    {"did not like our rcpt to", RefusedAt::rcpt},
    {"does not like recipient", RefusedAt::rcpt},
    {"[rcpt_to]", RefusedAt::rcpt},
    {"in reply to data", RefusedAt::data},
    {"in reply to end of data", RefusedAt::data},
    {"after end of data", RefusedAt::data},
    {"after data", RefusedAt::data},
    {"after pipelined data", RefusedAt::data},
    {"for text command", RefusedAt::data},
    {"did not like our final data", RefusedAt::data},
    {"did not like our data", RefusedAt::data},
    {"failed after i sent the message", RefusedAt::data},
    {"failed on data", RefusedAt::data},
    {"[dataend]", RefusedAt::data},
});

constexpr std::size_t piece_count() {
  std::size_t count = k_stage_phrases.size();
  for (const Phrase& phrase : k_phrases)
    count += 1 + static_cast<std::size_t>(std::ranges::count(phrase.text, k_piece_gap));
  return count;
}

// Stage phrases come after the phrases: their numbers begin at k_phrases.size().
constexpr auto all_pieces() {
  std::array<PhrasePiece, piece_count()> pieces{};
  std::size_t next = 0;
  for (std::size_t i = 0; i < k_phrases.size(); ++i) {
    std::string_view rest = k_phrases[i].text;
    for (std::uint8_t place = 0;; ++place) {
      const std::size_t gap = rest.find(k_piece_gap);
      const bool last = gap == std::string_view::npos;
      pieces[next++] = {rest.substr(0, gap), static_cast<std::uint16_t>(i), place, last};
      if (last) break;
      rest.remove_prefix(gap + 1);
    }
  }
  for (std::size_t i = 0; i < k_stage_phrases.size(); ++i)
    pieces[next++] = {k_stage_phrases[i].text, static_cast<std::uint16_t>(k_phrases.size() + i), 0, true};
  return pieces;
}

constexpr PhraseIndex<piece_count()> k_index{all_pieces()};

constexpr auto k_provider_hosts = std::to_array<ProviderHost>({
    {"protection.outlook.com", Provider::microsoft},
    {"mail.protection.outlook.com", Provider::microsoft},
    {"outlook.com", Provider::microsoft},
    {"hotmail.com", Provider::microsoft},
    {"live.com", Provider::microsoft},
    {"office365.us", Provider::microsoft},
    {"google.com", Provider::google},
    {"googlemail.com", Provider::google},
    {"gmail.com", Provider::google},
    {"yahoodns.net", Provider::yahoo},
    {"yahoo.com", Provider::yahoo},
    {"aol.com", Provider::yahoo},
    {"icloud.com", Provider::apple},
    {"apple.com", Provider::apple},
    {"me.com", Provider::apple},
    {"mac.com", Provider::apple},
    {"ezweb.ne.jp", Provider::kddi},
    {"au.com", Provider::kddi},
    {"uqmobile.jp", Provider::kddi},
    {"docomo.ne.jp", Provider::docomo},
    {"orange.fr", Provider::france},
    {"wanadoo.fr", Provider::france},
    {"laposte.net", Provider::france},
    {"sfr.fr", Provider::france},
    {"free.fr", Provider::france},
    {"qq.com", Provider::tencent},
});

constexpr auto k_provider_statuses = std::to_array<ProviderStatus>({
    {Provider::microsoft, "1.10", user_unknown},
});

constexpr auto k_status_meanings = std::to_array<StatusMeaning>({
    {"1.0", user_unknown, false},
    {"1.1", user_unknown, true},
    {"1.2", host_unknown, true},
    {"1.3", user_unknown, true},
    {"1.4", user_unknown, true},
    {"1.6", user_unknown, true},
    {"1.7", sender_rejected, true},
    {"1.8", sender_rejected, true},
    {"1.9", system, true},
    {"1.10", host_not_accepting, true},
    {"1.90", rate_limited, true},
    {"1.351", user_unknown, true},
    {"2.0", recipient_filtered, false},
    {"2.1", mailbox_disabled, true},
    {"2.2", mailbox_full, true},
    {"2.3", too_large, true},
    {"2.4", user_unknown, false},
    {"3.0", system, false},
    {"3.1", system, true},
    {"3.2", host_not_accepting, true},
    {"3.3", system, false},
    {"3.4", too_large, true},
    {"3.5", system, true},
    {"4.0", network, false},
    {"4.1", expired, false},
    {"4.2", network, false},
    {"4.3", system, false},
    {"4.4", host_unknown, false},
    {"4.5", rate_limited, false},
    {"4.6", network, true},
    {"4.7", expired, false},
    {"4.300", expired, false},
    {"4.310", host_unknown, true},
    {"4.312", network, true},
    {"4.316", expired, true},
    {"4.317", expired, true},
    {"5.0", system, false},
    {"5.1", system, false},
    {"5.2", system, false},
    {"5.3", rate_limited, false},
    {"5.4", system, false},
    {"5.5", system, false},
    {"5.6", system, false},
    {"7.5", security, false},
    {"7.8", security, false},
    {"7.10", security, true},
    {"7.11", security, true},
    {"7.13", mailbox_disabled, true},
    {"7.17", user_unknown, true},
    {"7.18", user_unknown, true},
    {"7.20", auth, true},
    {"7.21", auth, true},
    {"7.22", auth, true},
    {"7.23", auth, true},
    {"7.24", auth, true},
    {"7.25", ip_blocked, true},
    {"7.26", auth, true},
    {"7.27", sender_rejected, true},
    {"7.28", spam, true},
    {"7.29", auth, true},
    {"7.30", security, true},
    {"7.509", auth, true},
    {"7.515", auth, true},
    {"7.650", ip_blocked, true},
});

}  // namespace

Matches matches_in(std::string_view text) {
  Matches out;
  // Per phrase with gaps: how many of its pieces were seen, and where the first began and the last ended.
  std::array<std::uint8_t, k_phrases.size()> seen{};
  std::array<std::uint16_t, k_phrases.size()> begin, end;
  k_index.search(text, [&](const PhrasePiece& piece, std::size_t at) {
    if (piece.phrase >= k_phrases.size()) {
      out.at = k_stage_phrases[piece.phrase - k_phrases.size()].at;
      return;
    }
    const std::size_t stop = at + piece.text.size();
    if (piece.place != seen[piece.phrase]) return;
    if (piece.place == 0) begin[piece.phrase] = static_cast<std::uint16_t>(at);
    if (piece.place > 0 && at < end[piece.phrase]) return;
    end[piece.phrase] = static_cast<std::uint16_t>(stop);
    if (!piece.last) {
      ++seen[piece.phrase];
      return;
    }
    seen[piece.phrase] = 0;
    if (out.count < Matches::k_most)
      out.of[out.count++] = {&k_phrases[piece.phrase], begin[piece.phrase], stop};
  });
  return out;
}

std::span<const ProviderHost> provider_hosts() {
  return k_provider_hosts;
}

std::span<const ProviderStatus> provider_statuses() {
  return k_provider_statuses;
}

std::span<const StatusMeaning> status_meanings() {
  return k_status_meanings;
}

}  // namespace mailotp::core::words
