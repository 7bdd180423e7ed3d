#include "mail/bounce/dsn.h"

#include <algorithm>
#include <array>

#include "mail/bounce/ascii.h"
#include "mail/bounce/find_address.h"
#include "mail/bounce/reply_words.h"
#include "mail/bounce/scan.h"

namespace mailotp::mail {
namespace {

constexpr std::size_t k_diagnostic_max = 2000;
constexpr CharSet k_not_in_name(" \t<");

enum class Name : std::uint8_t {
  other,
  final_recipient,
  original_recipient,
  actual_recipient,
  action,
  status,
  diagnostic,
  remote,
  envid,
  supplementary
};

Name name_of(std::string_view name) {
  switch (lower(name.front())) {
    case 'f':
      return iequals(name, "final-recipient") ? Name::final_recipient : Name::other;
    case 'o':
      if (iequals(name, "original-recipient")) return Name::original_recipient;
      return iequals(name, "original-envelope-id") ? Name::envid : Name::other;
    case 'a':
      return iequals(name, "action") ? Name::action : Name::other;
    case 's':
      return iequals(name, "status") ? Name::status : Name::other;
    case 'd':
      return iequals(name, "diagnostic-code") ? Name::diagnostic : Name::other;
    case 'r':
      return iequals(name, "remote-mta") ? Name::remote : Name::other;
    case 'x':
      if (iequals(name, "x-actual-recipient")) return Name::actual_recipient;
      return iequals(name, "x-supplementary-info") ? Name::supplementary : Name::other;
    default:
      return Name::other;
  }
}

// A comment (RFC 5322 section 3.2.2) before the word is skipped, one behind it is cut off with what follows.
std::string_view first_word(std::string_view value) {
  value = trim(value);
  while (value.starts_with('(')) {
    const std::size_t close = value.find(')');
    if (close == std::string_view::npos) return {};
    value = trim(value.substr(close + 1));
  }
  std::size_t end = 0;
  while (end < value.size() && (is_alnum(value[end]) || value[end] == '-'))
    ++end;
  return value.substr(0, end);
}

DsnAction action_of(std::string_view value) {
  struct Word {
    std::string_view text;
    DsnAction action;
  };
  static constexpr std::array k_words{
      Word{"failed", DsnAction::failed},     Word{"failure", DsnAction::failed},
      Word{"fail", DsnAction::failed},       Word{"error", DsnAction::failed},
      Word{"expired", DsnAction::failed},    Word{"undeliverable", DsnAction::failed},
      Word{"bounced", DsnAction::failed},    Word{"rejected", DsnAction::failed},
      Word{"delayed", DsnAction::delayed},   Word{"delay", DsnAction::delayed},
      Word{"deferred", DsnAction::delayed},  Word{"warning", DsnAction::delayed},
      Word{"delivered", DsnAction::success}, Word{"relayed", DsnAction::success},
      Word{"expanded", DsnAction::success},  Word{"deliverable", DsnAction::success},
      Word{"success", DsnAction::success},
  };
  const std::string_view word = first_word(value);
  for (const Word& known : k_words) {
    if (iequals(word, known.text)) return known.action;
  }
  return DsnAction::none;
}

std::string_view without_type(std::string_view value) {
  value = trim(value);
  const std::size_t semicolon = value.find(';');
  if (semicolon == std::string_view::npos || semicolon > 20) return value;
  for (const char c : trim(value.substr(0, semicolon))) {
    if (!is_alnum(c) && c != '-') return value;
  }
  return trim(value.substr(semicolon + 1));
}

// What a local program's exit status means (sysexits.h), in Sendmail's words.
std::string_view exit_words(std::string_view value) {
  static constexpr std::array<std::string_view, 15> k_words{"command line usage error",
                                                            "data format error",
                                                            "cannot open input",
                                                            "user unknown",
                                                            "host unknown",
                                                            "service unavailable",
                                                            "internal software error",
                                                            "system error",
                                                            "critical system file missing",
                                                            "cannot create output file",
                                                            "input/output error",
                                                            "temporary failure",
                                                            "remote error in protocol",
                                                            "permission denied",
                                                            "local configuration error"};
  value = trim(value);
  if (value.empty() || value.size() > 3 || !std::all_of(value.begin(), value.end(), is_digit)) return value;
  if (value.size() != 2) return "unknown mailer error";
  const std::size_t status = static_cast<std::size_t>((value[0] - '0') * 10 + (value[1] - '0'));
  return status >= 64 && status - 64 < k_words.size() ? k_words[status - 64] : "unknown mailer error";
}

class DsnReader {
 public:
  DsnReader(std::string_view text, std::size_t limit, Dsn& dsn) : lines_(text), limit_(limit), dsn_(dsn) {}

  void run() {
    std::string_view line;
    while (lines_.next(line)) {
      if (trim(line).empty()) {
        flush();
        closed_ = true;
        continue;
      }
      if (line.front() == ' ' || line.front() == '\t') {
        append(line);
        continue;
      }
      const std::size_t colon = line.find(':');
      std::size_t name_end = colon == std::string_view::npos ? 0 : colon;
      while (name_end > 0 && is_blank(line[name_end - 1]))
        --name_end;
      const std::string_view name = line.substr(0, name_end);
      if (name.empty() || k_not_in_name.find_in(name) != std::string_view::npos) {
        append(line);  // a long value that somebody wrapped
        continue;
      }
      flush();
      name_ = name_of(name);
      value_ = trim(line.substr(colon + 1));
    }
    flush();
  }

 private:
  void append(std::string_view line) {
    if (name_ == Name::other) return;
    line = trim(line);
    if (folded_.empty()) folded_ = value_;
    if (folded_.size() + line.size() + 1 > k_diagnostic_max) return;
    if (!folded_.empty()) folded_.push_back(' ');
    folded_ += line;
  }

  // The recipient that a field belongs to; nullptr above the limit.
  DsnRecipient* current(bool begins) {
    if (begins || dsn_.recipients.empty() || !open_) {
      if (dsn_.recipients.size() >= limit_) return nullptr;
      dsn_.recipients.emplace_back();
      open_ = true;
    }
    closed_ = false;
    return &dsn_.recipients.back();
  }

  bool has(bool DsnRecipient::*seen) const {
    return open_ && !dsn_.recipients.empty() && dsn_.recipients.back().*seen;
  }
  bool named() const { return has(&DsnRecipient::final_seen) || has(&DsnRecipient::original_seen); }

  void flush() {
    const Name name = name_;
    const std::string_view value = folded_.empty() ? value_ : std::string_view(folded_);
    name_ = Name::other;
    switch (name) {
      case Name::final_recipient:
        if (DsnRecipient* to = current(has(&DsnRecipient::final_seen) || (closed_ && named()))) {
          to->final_seen = true;
          to->final_address = field_address(value);
        }
        break;
      case Name::original_recipient:
        if (DsnRecipient* to = current(has(&DsnRecipient::original_seen) || (closed_ && named()))) {
          to->original_seen = true;
          to->original_address = field_address(value);
        }
        break;
      case Name::actual_recipient:
        if (DsnRecipient* to = current(false)) {
          if (to->final_address.empty()) to->final_address = field_address(value);
        }
        break;
      case Name::action:
        if (DsnRecipient* to =
                current(closed_ && named() && dsn_.recipients.back().action != DsnAction::none))
          to->action = action_of(value);
        break;
      case Name::status:
        if (DsnRecipient* to = current(false)) {
          if (to->status.empty()) to->status = find_status(value);
        }
        break;
      case Name::diagnostic:
        if (DsnRecipient* to = current(false))
          add_diagnostic(
              *to, istarts_with(value, "x-unix;") ? exit_words(without_type(value)) : without_type(value));
        break;
      case Name::supplementary:
        if (DsnRecipient* to = current(false)) add_diagnostic(*to, value);
        break;
      case Name::remote:
        if (DsnRecipient* to = current(false)) to->remote_host = first_host(without_type(value));
        break;
      case Name::envid:
        dsn_.envid = trim(value);
        break;
      case Name::other:
        break;
    }
    folded_.clear();
    value_ = {};
  }

  static void add_diagnostic(DsnRecipient& to, std::string_view value) {
    if (to.diagnostic.size() + value.size() + 1 > k_diagnostic_max)
      value = value.substr(0, k_diagnostic_max - std::min(k_diagnostic_max, to.diagnostic.size() + 1));
    if (!to.diagnostic.empty() && !value.empty()) to.diagnostic.push_back(' ');
    to.diagnostic += value;
  }

  static std::string_view first_host(std::string_view value) {
    return value.substr(0, value.find_first_of(" \t(;["));
  }

  Lines lines_;
  std::size_t limit_;
  Dsn& dsn_;
  Name name_ = Name::other;
  std::string_view value_;
  std::string folded_;   // the value, once it has more than one line
  bool closed_ = false;  // an empty line since the last field of the recipient
  bool open_ = false;
};

}  // namespace

void read_dsn(std::string_view text, std::size_t limit, Dsn& dsn) {
  DsnReader(text, limit, dsn).run();
}

}  // namespace mailotp::mail
