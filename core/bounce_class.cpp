#include "core/bounce_class.h"

#include <algorithm>
#include <array>
#include <span>

#include "core/bounce_words.h"

namespace mailotp::core {
namespace {

using words::Match;
using words::Matches;
using words::Provider;
using words::StatusMeaning;
using words::Weight;

constexpr std::size_t k_max_diagnostic = 2000;

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

constexpr bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

constexpr char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// "5.7.26": one digit, then two numbers of at most three; nothing of a longer number or of an address beside
// it.
std::size_t status_length(std::string_view text) {
  if (text.size() < 5 || (text[0] != '2' && text[0] != '4' && text[0] != '5') || text[1] != '.') return 0;
  std::size_t i = 2;
  for (int number = 0; number < 2; ++number) {
    const std::size_t first = i;
    while (i < text.size() && is_digit(text[i]) && i - first < 4)
      ++i;
    if (i == first || i - first > 3) return 0;
    if (number == 0 && (i >= text.size() || text[i++] != '.')) return 0;
  }
  if (i < text.size() && text[i] == '.' && i + 1 < text.size() && is_digit(text[i + 1])) return 0;
  return i;
}

// A diagnostic made comparable: lower case, one space for any space, "@" for an address, without the codes
// that begin each line of a reply of many lines; the first codes it names are kept aside.
class Words {
 public:
  explicit Words(std::string_view diagnostic) {
    std::string_view rest = diagnostic.substr(0, k_max_diagnostic);
    while (!rest.empty()) {
      if (at_word_start() && take_codes(rest)) continue;
      if (rest[0] == '@' && size_ > 0 && text_[size_ - 1] != ' ') {
        take_address(rest);
        continue;
      }
      if (!is_space(rest[0]))
        text_[size_++] = lower(rest[0]);
      else if (size_ > 0 && text_[size_ - 1] != ' ')
        text_[size_++] = ' ';
      rest.remove_prefix(1);
    }
  }

  [[nodiscard]] std::string_view text() const { return {text_.data(), size_}; }
  [[nodiscard]] std::string_view status() const { return status_; }
  [[nodiscard]] int code() const { return code_; }

 private:
  [[nodiscard]] bool at_word_start() const {
    if (size_ == 0) return true;
    const char c = text_[size_ - 1];
    return c == ' ' || c == '(' || c == '#' || c == ':' || c == ';' || c == '<' || c == '[' || c == '"';
  }

  bool take_codes(std::string_view& rest) {
    if (const std::size_t length = status_length(rest)) {
      if (status_.empty()) status_ = rest.substr(0, length);
      // The code stays in the text: some phrases name it.
      for (std::size_t i = 0; i < length; ++i)
        text_[size_++] = rest[i];
      rest.remove_prefix(length);
      return true;
    }
    if (rest.size() < 4 || (rest[0] != '4' && rest[0] != '5') || !is_digit(rest[1]) || !is_digit(rest[2]) ||
        (rest[3] != ' ' && rest[3] != '-'))
      return false;
    const bool with_status = status_length(rest.substr(4)) != 0;
    if (code_ == 0 && (with_status || rest[3] == '-' || size_ == 0 || text_[size_ - 1] == ' '))
      code_ = (rest[0] - '0') * 100 + (rest[1] - '0') * 10 + (rest[2] - '0');
    if (rest[3] == '-' && !with_status) {
      rest.remove_prefix(4);
      return true;
    }
    if (!with_status || size_ == 0) return false;
    // The head of a further line.
    const std::size_t length = 4 + status_length(rest.substr(4));
    if (status_.empty()) status_ = rest.substr(4, length - 4);
    rest.remove_prefix(length);
    while (!rest.empty() && is_space(rest[0]))
      rest.remove_prefix(1);
    return true;
  }

  static bool ends_address(char c) {
    return is_space(c) || c == '<' || c == '>' || c == '(' || c == ')' || c == '[' || c == ']' || c == '"' ||
           c == '\'' || c == ',' || c == ';' || c == ':';
  }

  void take_address(std::string_view& rest) {
    while (size_ > 0 && !ends_address(text_[size_ - 1]))
      --size_;
    text_[size_++] = '@';
    while (!rest.empty() && !ends_address(rest[0]))
      rest.remove_prefix(1);
  }

  std::array<char, k_max_diagnostic> text_;
  std::size_t size_ = 0;
  std::string_view status_;  // of the diagnostic
  int code_ = 0;
};

std::string_view detail_of(std::string_view status) {
  const std::size_t dot = status.find('.');
  return dot == std::string_view::npos ? std::string_view{} : status.substr(dot + 1);
}

bool is_under(std::string_view host, std::string_view suffix) {
  if (!host.ends_with(suffix)) return false;
  return host.size() == suffix.size() || host[host.size() - suffix.size() - 1] == '.';
}

Provider provider_of(const RefusalWords& words) {
  for (const words::ProviderHost& known : words::provider_hosts()) {
    if (is_under(words.remote_host, known.suffix)) return known.provider;
  }
  if (!words.remote_host.empty()) return Provider::any;
  for (const words::ProviderHost& known : words::provider_hosts()) {
    if (is_under(words.recipient_domain, known.suffix)) return known.provider;
  }
  return Provider::any;
}

// Of phrases that weigh the same, the class that stands first here is meant: what is said of the message's
// way comes before what is said of the recipient, for that one has consequences.
constexpr std::array k_precedence{
    BounceClass::mailbox_full,
    BounceClass::greylisted,
    BounceClass::too_large,
    BounceClass::mailbox_disabled,
    BounceClass::auth,
    BounceClass::rate_limited,
    BounceClass::content,
    BounceClass::spam,
    BounceClass::ip_blocked,
    BounceClass::host_not_accepting,
    BounceClass::network,
    BounceClass::host_unknown,
    BounceClass::recipient_filtered,
    BounceClass::sender_rejected,
    BounceClass::user_unknown,
    BounceClass::security,
    BounceClass::suppressed,
    BounceClass::policy,
    BounceClass::expired,
    BounceClass::system,
    BounceClass::unknown,
};

int rank_of(const words::Phrase& phrase) {
  const auto* const place = std::ranges::find(k_precedence, phrase.bounce_class);
  return static_cast<int>(phrase.weight) * k_bounce_classes - static_cast<int>(place - k_precedence.begin());
}

// A longer phrase without gaps says better what a part of it would say.
bool is_part(const Match& match, const Match& other) {
  const std::size_t size = other.end - other.begin;
  return other.begin <= match.begin && match.end <= other.end && size > match.end - match.begin &&
         size == other.phrase->text.size();
}

const words::Phrase* best_phrase(const Matches& matches, Provider provider) {
  const auto found = std::span(matches.of).first(matches.count);
  const words::Phrase* best = nullptr;
  const auto counts = [provider](const Match& match) {
    return match.phrase->provider == Provider::any || match.phrase->provider == provider;
  };
  for (const Match& match : found) {
    if (!counts(match)) continue;
    if (best != nullptr && rank_of(*match.phrase) <= rank_of(*best)) continue;
    if (std::ranges::any_of(found,
                            [&](const Match& other) { return counts(other) && is_part(match, other); }))
      continue;
    best = match.phrase;
  }
  return best;
}

// A meaning of the whole code stands before that of its subject and detail.
const StatusMeaning* meaning_of_status(std::string_view status) {
  const auto same = [](char row, char c) { return row == c || row == '?'; };
  for (const std::string_view key : {status, detail_of(status)}) {
    for (const StatusMeaning& meaning : words::status_meanings()) {
      if (std::ranges::equal(meaning.code, key, same)) return &meaning;
    }
  }
  return nullptr;
}

std::optional<BounceClass> meaning_at(Provider provider, std::string_view detail, RefusedAt at) {
  for (const words::ProviderStatus& meaning : words::provider_statuses()) {
    if (meaning.provider == provider && meaning.detail == detail &&
        (meaning.at == RefusedAt::unknown || meaning.at == at))
      return meaning.bounce_class;
  }
  return std::nullopt;
}

// 550, 551 and 553 name the address, so that at RCPT they mean that it does not exist (RFC 5321
// section 4.2.3).
bool names_recipient(int code, RefusedAt at) {
  return at == RefusedAt::rcpt && (code == 550 || code == 551 || code == 553);
}

// What is left when neither the words nor the code in the registry say why.
BounceClass class_of_code(int code, RefusedAt at, std::string_view detail) {
  if (detail.starts_with("6.")) return BounceClass::content;
  if (detail.starts_with("7.")) return BounceClass::policy;
  if (detail.starts_with("5.") && !names_recipient(code, at)) return BounceClass::system;
  if (code == 552) return BounceClass::too_large;  // RFC 1870 section 6.1; full mailboxes say so
  if (code == 556) return BounceClass::host_not_accepting;
  if (code == 525) return BounceClass::mailbox_disabled;
  if (code >= 500 && code <= 504) return BounceClass::system;
  if (code == 530 || code == 535) return BounceClass::security;
  if (code == 421) return BounceClass::network;
  if (names_recipient(code, at)) return BounceClass::user_unknown;
  switch (at) {
    case RefusedAt::session:
      return BounceClass::ip_blocked;
    case RefusedAt::mail:
      return BounceClass::sender_rejected;
    case RefusedAt::rcpt:
      return code >= 500 ? BounceClass::policy : BounceClass::unknown;
    case RefusedAt::data:
      return code >= 500 ? BounceClass::content : BounceClass::unknown;
    case RefusedAt::unknown:
      break;
  }
  return BounceClass::unknown;
}

bool is_generic(std::string_view detail) {
  return detail.empty() || detail == "0.0";
}

struct Evidence {
  const words::Phrase* phrase;  // the best, or nullptr
  std::string_view status;
  Provider provider;
  int code;
  RefusedAt at;
};

BounceClass weigh(const Evidence& evidence) {
  const words::Phrase* const phrase = evidence.phrase;
  const std::string_view detail = detail_of(evidence.status);
  const StatusMeaning* const status = meaning_of_status(evidence.status);
  if (phrase != nullptr && phrase->weight >= Weight::certain) return phrase->bounce_class;
  if (const auto by_provider = meaning_at(evidence.provider, detail, evidence.at)) return *by_provider;
  // These codes say that the mailbox exists (RFC 3463 section 3.3): "user unknown" is believed to RCPT alone,
  // and after the mail it is a filter's.
  const bool exists = detail == "2.0" || detail == "2.1";
  if (exists && phrase != nullptr && phrase->weight == Weight::plain &&
      phrase->bounce_class == BounceClass::user_unknown)
    return evidence.at == RefusedAt::rcpt || evidence.at == RefusedAt::data ? BounceClass::user_unknown
                                                                            : status->bounce_class;
  if (status != nullptr && status->specific) return status->bounce_class;
  if (phrase != nullptr && phrase->weight == Weight::plain) return phrase->bounce_class;
  if (status != nullptr) return status->bounce_class;
  const BounceClass by_code = class_of_code(evidence.code, evidence.at, detail);
  if (by_code != BounceClass::unknown || phrase == nullptr) return by_code;
  return phrase->bounce_class;
}

bool says_unknown(std::string_view status) {
  const StatusMeaning* const meaning = meaning_of_status(status);
  return meaning != nullptr && meaning->specific && meaning->bounce_class == BounceClass::user_unknown;
}

// Words that name an address or a domain mean the one that the command in flight gave.
BounceClass at_stage(BounceClass found, const Evidence& evidence) {
  const bool names_one = found == BounceClass::user_unknown || found == BounceClass::host_unknown;
  const bool by_words = evidence.phrase != nullptr && evidence.phrase->bounce_class == found;
  const bool loosely =
      found == BounceClass::policy && (!by_words || evidence.phrase->weight < Weight::certain);
  switch (evidence.at) {
    case RefusedAt::session:
      return (by_words && names_one) || loosely || found == BounceClass::sender_rejected
                 ? BounceClass::ip_blocked
                 : found;
    case RefusedAt::mail:
      return (by_words && names_one) || loosely ? BounceClass::sender_rejected : found;
    case RefusedAt::data:
      // A filter says so after the mail was seen, even in the words for an address that does not exist.
      return found == BounceClass::user_unknown && !says_unknown(evidence.status) &&
                     (!by_words || evidence.phrase->weight < Weight::tag)
                 ? BounceClass::recipient_filtered
                 : found;
    case RefusedAt::rcpt:
    case RefusedAt::unknown:
      break;
  }
  return found;
}

// Only where the words know better: a code in them against the field's, or no code at all.
std::optional<bool> permanence(const RefusalWords& words, const Words& said, BounceClass bounce_class) {
  if (!words.status.empty()) {
    if (said.status().empty() || said.status()[0] == words.status[0]) return std::nullopt;
    return said.status()[0] == '5';
  }
  if (!said.status().empty() || words.code != 0 || said.code() != 0) return std::nullopt;
  if (bounce_class == BounceClass::user_unknown || bounce_class == BounceClass::host_unknown) return true;
  return std::nullopt;
}

}  // namespace

RefusalClass classify(const RefusalWords& words) {
  const Words said(words.diagnostic);
  const Matches matches = words::matches_in(said.text());
  const Provider provider = provider_of(words);
  Evidence evidence{.phrase = best_phrase(matches, provider),
                    .status = words.status,
                    .provider = provider,
                    .code = words.code != 0 ? words.code : said.code(),
                    .at = words.at};
  if (is_generic(detail_of(evidence.status)) && !said.status().empty()) evidence.status = said.status();

  RefusalClass out;
  out.bounce_class = at_stage(weigh(evidence), evidence);
  out.permanent = permanence(words, said, out.bounce_class);
  out.null_mx = out.bounce_class == BounceClass::host_not_accepting &&
                (detail_of(evidence.status) == "1.10" || evidence.code == 556 ||
                 (evidence.phrase != nullptr && evidence.phrase->text.starts_with("null")));
  return out;
}

VerdictKind verdict_kind_of(BounceClass bounce_class) {
  switch (bounce_class) {
    case BounceClass::rate_limited:
    case BounceClass::ip_blocked:
    case BounceClass::auth:
    case BounceClass::sender_rejected:
    case BounceClass::spam:
    case BounceClass::content:
    case BounceClass::too_large:
    case BounceClass::policy:
    case BounceClass::security:
      return VerdictKind::refused;
    case BounceClass::unknown:
    case BounceClass::user_unknown:
    case BounceClass::host_unknown:
    case BounceClass::host_not_accepting:
    case BounceClass::mailbox_disabled:
    case BounceClass::mailbox_full:
    case BounceClass::expired:
    case BounceClass::network:
    case BounceClass::recipient_filtered:
    case BounceClass::greylisted:
    case BounceClass::system:
    case BounceClass::suppressed:
      return VerdictKind::undeliverable;
  }
  return VerdictKind::undeliverable;
}

}  // namespace mailotp::core
