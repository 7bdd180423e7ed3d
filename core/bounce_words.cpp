#include "core/bounce_words.h"

#include <algorithm>
#include <array>
#include <vector>

#include "core/phrase_index.h"

namespace mailotp::core::words {
namespace {

using enum BounceClass;
using enum Weight;

constexpr auto k_phrases = std::to_array<Phrase>({
#include "core/bounce_phrases.inc"
});

constexpr char k_gap = '*';  // parts the pieces of a phrase

std::vector<PhrasePiece> all_pieces() {
  std::vector<PhrasePiece> pieces;
  std::uint16_t slots = 0;
  for (std::size_t i = 0; i < k_phrases.size(); ++i) {
    std::string_view rest = k_phrases[i].text;
    const std::uint16_t slot = rest.find(k_gap) == std::string_view::npos ? k_no_slot : slots++;
    for (std::uint8_t place = 0;; ++place) {
      const std::size_t gap = rest.find(k_gap);
      const bool last = gap == std::string_view::npos;
      pieces.push_back({rest.substr(0, gap), static_cast<std::uint16_t>(i), slot, place, last});
      if (last) break;
      rest.remove_prefix(gap + 1);
    }
  }
  return pieces;
}

constexpr std::size_t k_gapped = static_cast<std::size_t>(std::ranges::count_if(
    k_phrases, [](const Phrase& phrase) { return phrase.text.find(k_gap) != std::string_view::npos; }));

// How far a phrase with gaps was found.
struct Progress {
  std::uint8_t pieces = 0;
  std::uint16_t begin = 0;  // of the first
  std::uint16_t end = 0;    // of the last
};

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
    {Provider::docomo, "2.0", recipient_filtered},
    {Provider::docomo, "0.0", sender_rejected, RefusedAt::data},
});

constexpr auto k_status_meanings = std::to_array<StatusMeaning>({
    {"4.4.4", network, false},
    {"4.7.1", ip_blocked, false},
    {"1.0", user_unknown, false},
    {"1.1", user_unknown, true},
    {"1.2", host_unknown, true},
    {"1.3", user_unknown, true},
    {"1.4", recipient_filtered, false},
    {"1.6", user_unknown, true},
    {"1.7", sender_rejected, true},
    {"1.8", sender_rejected, true},
    {"1.9", system, false},
    {"1.10", host_not_accepting, true},
    {"1.90", rate_limited, true},
    {"1.351", user_unknown, true},
    {"2.0", recipient_filtered, false},
    {"2.1", mailbox_disabled, true},
    {"2.2", mailbox_full, true},
    {"2.3", too_large, true},
    {"2.4", recipient_filtered, false},
    {"2.14", system, true},
    {"2.121", rate_limited, true},
    {"2.122", rate_limited, true},
    {"3.0", system, false},
    {"3.1", system, true},
    {"3.2", host_not_accepting, false},
    {"3.3", system, false},
    {"3.4", too_large, true},
    {"3.5", system, true},
    {"4.0", network, false},
    {"4.1", expired, false},
    {"4.2", network, false},
    {"4.3", system, true},
    {"4.4", host_unknown, false},
    {"4.5", system, false},
    {"4.6", network, true},
    {"4.7", expired, true},
    {"4.8", network, false},
    {"4.14", network, true},
    {"4.300", expired, true},
    {"4.310", host_unknown, true},
    {"4.312", network, true},
    {"4.316", expired, true},
    {"4.317", expired, true},
    {"4.318", system, true},
    {"5.3", rate_limited, false},
    {"6.0", content, true},
    {"6.1", content, true},
    {"6.2", content, true},
    {"6.3", content, true},
    {"6.4", content, true},
    {"6.5", content, true},
    {"6.6", content, true},
    {"6.7", content, true},
    {"6.8", content, true},
    {"6.9", content, true},
    {"6.10", content, true},
    {"6.11", content, true},
    {"7.5", security, false},
    {"7.6", security, false},
    {"7.7", security, false},
    {"7.8", security, false},
    {"7.10", security, true},
    {"7.11", security, true},
    {"7.12", security, false},
    {"7.13", mailbox_disabled, true},
    {"7.16", too_large, true},
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
    {"7.51", ip_blocked, true},
    {"7.57", security, true},
    {"7.124", sender_rejected, true},
    {"7.133", sender_rejected, true},
    {"7.134", sender_rejected, true},
    {"7.135", sender_rejected, true},
    {"7.136", sender_rejected, true},
    {"7.321", security, true},
    {"7.501", sender_rejected, true},
    {"7.502", sender_rejected, true},
    {"7.503", sender_rejected, true},
    {"7.504", mailbox_disabled, true},
    {"7.505", mailbox_disabled, true},
    {"7.506", ip_blocked, true},
    {"7.507", ip_blocked, true},
    {"7.508", rate_limited, true},
    {"7.509", auth, true},
    {"7.510", ip_blocked, true},
    {"7.511", ip_blocked, true},
    {"7.512", content, true},
    {"7.513", ip_blocked, true},
    {"7.515", auth, true},
    {"7.6??", ip_blocked, true},  // Microsoft's 5.7.606 to 5.7.649, and 4.7.650
    {"7.708", ip_blocked, true},
    {"7.750", sender_rejected, true},
    {"7.85?", ip_blocked, false},
});

}  // namespace

Matches matches_in(std::string_view text) {
  Matches out;
  std::array<Progress, k_gapped> gapped{};
  // Made once, at the first refusal, and never changed.
  static const PhraseIndex index(all_pieces());
  index.search(text, [&](const PhrasePiece& piece, std::size_t begin) {
    const std::size_t end = begin + piece.text.size();
    if (piece.slot != k_no_slot) {
      Progress& progress = gapped[piece.slot];
      if (piece.place != progress.pieces || (piece.place > 0 && begin < progress.end)) return;
      if (piece.place == 0) progress.begin = static_cast<std::uint16_t>(begin);
      progress.end = static_cast<std::uint16_t>(end);
      ++progress.pieces;
      if (!piece.last) return;
      begin = progress.begin;
    }
    if (out.count < out.of.size()) out.of[out.count++] = {&k_phrases[piece.phrase], begin, end};
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
