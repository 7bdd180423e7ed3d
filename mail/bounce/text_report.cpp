#include "mail/bounce/text_report.h"

#include <algorithm>

#include "mail/bounce/ascii.h"
#include "mail/bounce/find_address.h"
#include "mail/bounce/reply_words.h"

namespace mailotp::mail {
namespace {

constexpr std::size_t k_lines_max = 2000;
constexpr std::size_t k_hits_max = 12;
constexpr std::size_t k_tokens_max = 4;
constexpr std::size_t k_delay_lines = 40;
constexpr std::size_t k_list_lines = 400;    // of one list of recipients
constexpr std::size_t k_unknown_lines = 60;  // that read_unknown looks at
constexpr std::size_t k_diagnostic_max = 2000;
constexpr std::size_t k_lead_lines = 10;  // before the marker

// An address, and where in its line the words about it begin.
struct Named {
  std::string_view address;
  std::size_t behind = 0;
  std::size_t indent = 0;
};

bool is_service(std::string_view address) {
  return istarts_with(address, "postmaster@") || istarts_with(address, "mailer-daemon@") ||
         istarts_with(address, "abuse@") || istarts_with(address, "support@") ||
         istarts_with(address, "helpdesk@");
}

bool is_own(std::string_view address, const TextContext& context) {
  return std::any_of(context.own.begin(), context.own.end(),
                     [&](std::string_view own) { return same_ignoring_case(own, address); });
}

Named at_start(std::string_view line) {
  static constexpr CharSet k_before(" \t*->\"'");
  const std::size_t begin = k_before.skip(line);
  const FoundAddress found = find_address(line.substr(0, begin + 400), begin);
  std::size_t indent = 0;
  while (indent < line.size() && (line[indent] == ' ' || line[indent] == '\t'))
    ++indent;
  if (found && found.begin <= begin) return {found.address, found.end, indent};
  // An internationalised address (RFC 6531) alone in its line.
  const std::string_view word = trim(line);
  const bool wide =
      std::any_of(word.begin(), word.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
  if (!wide || word.find('@') == std::string_view::npos ||
      word.find_first_of(" \t<>()[],:;") != std::string_view::npos)
    return {};
  return {field_address(word), line.size(), indent};
}

Named behind_keyword(std::string_view line, std::string_view keyword) {
  const std::size_t at = ifind(line.substr(0, 200), keyword);
  if (at == std::string_view::npos || (at > 0 && is_alnum(line[at - 1]))) return {};
  const FoundAddress found = find_address(line, at + keyword.size());
  return {found.address, found.end, 0};
}

Named in_reply(std::string_view line) {
  std::size_t begin = decoration_length(line);
  if (begin + 4 < line.size() && is_digit(line[begin]) && is_digit(line[begin + 1]) &&
      is_digit(line[begin + 2]))
    begin += 4;
  const FoundAddress found = find_address(line, begin);
  if (!found || found.begin != begin) return {};
  const std::string_view behind = line.substr(found.end);
  if (!behind.starts_with("...") && !behind.starts_with(" ...")) return {};
  return {found.address, 0, 0};  // the code before it counts as well
}

Named whole_word(std::string_view line) {
  const std::string_view word = trim(line);
  if (word.empty() || word.size() > 64 || line.front() == word.front()) return {};  // it is indented
  std::size_t end = 0;
  while (end < word.size() &&
         (is_alnum(word[end]) || word[end] == '.' || word[end] == '_' || word[end] == '-'))
    ++end;
  if (end == 0 || (end < word.size() && word[end] != ' ')) return {};
  return {word.substr(0, end), static_cast<std::size_t>(word.data() - line.data()) + end, 0};
}

Named by_shape(std::string_view line, const TextFormat& format) {
  switch (format.shape) {
    case Shape::listed:
      return at_start(line);
    case Shape::keyword:
      return behind_keyword(line, format.keyword);
    case Shape::anywhere: {
      const FoundAddress found = find_address(line);
      return {found.address, found.end, 0};
    }
    case Shape::angle: {
      const FoundAddress found = find_angle_address(line);
      return {found.address, found.end, 0};
    }
    case Shape::reply:
      return in_reply(line);
    case Shape::local:
      return whole_word(line);
  }
  return {};
}

void append_words(std::string_view words, std::string& out) {
  words = trim(words);
  if (words.empty() || out.size() + words.size() + 1 > k_diagnostic_max) return;
  if (!out.empty()) out.push_back(' ');
  out += words;
}

// Words that name the address we had sent to, where a server went on to another one.
std::string original_of(std::string_view words) {
  constexpr std::string_view k_mark = "expanded from";
  const std::size_t at = ifind(words, k_mark);
  if (at == std::string_view::npos) return {};
  return std::string(find_address(words, at + k_mark.size()).address);
}

class ListReader {
 public:
  ListReader(const TextLines& lines, const TextContext& context, const TextFormat& format)
      : lines_(lines.lines()), context_(context), format_(format) {
    report_.rule = format.rule;
    report_.delay = format.delay;
    report_.trust = format.trust;
  }

  TextReport read(std::size_t first_line, std::size_t offset) {
    std::size_t at = first_line;
    if (format_.shape == Shape::anywhere || format_.shape == Shape::angle)
      before_ = trim(lines_[at].substr(0, offset));
    const std::size_t last = std::min(lines_.size(), first_line + k_list_lines);
    std::string_view line = lines_[at].substr(std::min(offset, lines_[at].size()));
    while (!line.empty() && (is_blank(line.front()) || line.front() == ':'))
      line.remove_prefix(1);
    for (;;) {
      if (!format_.end.empty() && at > first_line &&
          istarts_with(line.substr(decoration_length(line)), format_.end))
        break;
      if (trim(line).empty()) {
        const bool one_paragraph = format_.shape == Shape::anywhere || format_.shape == Shape::angle ||
                                   format_.shape == Shape::local;
        if (one_paragraph && !report_.recipients.empty()) list_closed_ = true;
        after_empty_ = true;
      } else {
        take(line);
        after_empty_ = false;
      }
      if (++at >= last) break;
      line = lines_[at];
    }
    finish(first_line, at);
    return std::move(report_);
  }

 private:
  [[nodiscard]] bool is_list() const {
    return format_.shape == Shape::listed || format_.shape == Shape::reply;
  }

  void take(std::string_view line) {
    const Named named = list_closed_ ? Named{} : by_shape(line, format_);
    if (named.address.empty() || (!is_list() && is_service(named.address)) ||
        is_own(named.address, context_) || is_detail(named) || icontains(line, "mail from:") ||
        sender_follows_) {
      append_detail(line);
      sender_follows_ = trim(line).ends_with("sent by");
      return;
    }
    const auto known =
        std::find_if(report_.recipients.begin(), report_.recipients.end(), [&](const TextRecipient& one) {
          const std::string_view address = one.address;
          const bool local = format_.shape == Shape::local;
          return same_ignoring_case(local ? address.substr(0, address.find('@')) : address, named.address);
        });
    if (known != report_.recipients.end()) {
      append_words(line, known->diagnostic);
      return;
    }
    if (is_original(line)) {
      report_.recipients.back().original = named.address;
      return;
    }
    if (report_.recipients.size() >= context_.limit) return;
    if (report_.recipients.empty()) indent_ = named.indent;
    details_indented_ = details_closed_ = false;
    TextRecipient& recipient = report_.recipients.emplace_back();
    recipient.address = named.address;
    if (format_.shape == Shape::local) {
      recipient.address.push_back('@');
      recipient.address += context_.reporting_domain;
    }
    // In a sentence the words before the address tell as much as those behind it.
    const bool sentence = format_.shape != Shape::listed && format_.shape != Shape::local;
    std::string_view behind = line.substr(sentence ? 0 : named.behind);
    static constexpr CharSet k_after(":;,> \t");
    behind.remove_prefix(k_after.skip(behind));
    if (sentence) append_words(before_, recipient.diagnostic);
    if (format_.shape == Shape::reply) before_.clear();
    append_words(behind, recipient.diagnostic);
  }

  // Words about the last recipient; where they are indented, what follows them without an indent is about
  // all.
  void append_detail(std::string_view line) {
    // In a transcript the words about an address stand before it, from the session with its host on.
    const bool transcript = format_.shape == Shape::reply;
    if (transcript && istarts_with(line.substr(decoration_length(line)), "while talking to")) before_.clear();
    if (report_.recipients.empty() || transcript) return append_words(line, before_);
    const bool indented = line.front() == ' ' || line.front() == '\t';
    const bool closed = after_empty_ && details_indented_ && !indented && format_.shape == Shape::listed;
    if (closed) details_closed_ = true;
    if (details_closed_) return;
    details_indented_ = indented && !trim(line).ends_with(':');
    append_words(line, report_.recipients.back().diagnostic);
  }

  // "Recipient address: …" was followed by "Original address: …".
  [[nodiscard]] bool is_original(std::string_view line) const {
    return format_.shape == Shape::keyword && !report_.recipients.empty() &&
           istarts_with(trim(line), "original ");
  }

  // An indented line about the recipient above may begin with an address too.
  [[nodiscard]] bool is_detail(const Named& named) const {
    return format_.shape == Shape::listed && !report_.recipients.empty() && named.indent > indent_ + 1;
  }

  // A diagnostic that names no code is completed from what stands around the list: the words that open it,
  // those before it, and a transcript behind it.
  void finish(std::size_t first_line, std::size_t end_line) {
    if (report_.recipients.empty()) return;
    std::string opening(trim(lines_[first_line]));
    if (first_line > 0 && format_.shape != Shape::listed)
      opening = std::string(trim(lines_[first_line - 1])) + " " + opening;
    std::string lead;
    for (std::size_t at = first_line - std::min(first_line, k_lead_lines); at < first_line; ++at)
      append_words(lines_[at], lead);
    std::string rest;
    for (std::size_t at = end_line; at < lines_.size() && rest.size() < k_diagnostic_max; ++at)
      append_words(lines_[at], rest);
    for (TextRecipient& recipient : report_.recipients) {
      if (recipient.original.empty()) recipient.original = original_of(recipient.diagnostic);
      const bool poor = says_nothing(recipient);
      for (const std::string* piece : {&rest, &before_, &lead}) {
        if (has_code(recipient.diagnostic)) break;
        if (has_code(*piece)) append_words(*piece, recipient.diagnostic);
      }
      if (!poor || has_code(recipient.diagnostic)) continue;
      for (const std::string* piece : {&opening, &before_, &rest})
        append_words(*piece, recipient.diagnostic);
    }
  }

  static bool has_code(std::string_view words) {
    return find_reply_code(words) != 0 || !find_status(words).empty();
  }

  // Letters beside addresses and where they come from.
  static bool says_nothing(const TextRecipient& recipient) {
    std::size_t letters = 0;
    bool inside = false;
    for (const char c : recipient.diagnostic) {
      if (c == '<' || c == '(') inside = true;
      if (c == '>' || c == ')') inside = false;
      if (!inside && is_alpha(c)) ++letters;
    }
    const bool reason = icontains(recipient.diagnostic, "(reason");
    return letters < 4 && !reason;
  }

  const std::vector<std::string_view>& lines_;
  const TextContext& context_;
  const TextFormat& format_;
  TextReport report_;
  std::string before_;  // words between the marker and the first address
  std::size_t indent_ = 0;
  bool list_closed_ = false;
  bool after_empty_ = false;  // the line before was empty
  bool details_indented_ = false;
  bool details_closed_ = false;
  bool sender_follows_ = false;  // "A message sent by", then the sender
};

}  // namespace

TextLines::TextLines(std::string_view text) : text_(text), original_(text.size()) {
  Lines lines(text);
  std::string_view line;
  lines_.reserve(64);
  for (std::size_t begin = 0; lines_.size() < k_lines_max && lines.next(line); begin = lines.position()) {
    look_at(line, begin);
    if (original_ < text.size()) return;
    lines_.push_back(line);
  }
}

bool TextLines::take_marker(std::string_view line, std::size_t at) {
  const Marker* marker = find_marker(line.substr(at));
  if (marker == nullptr) return false;
  switch (marker->use) {
    case MarkerUse::original:
      return true;
    case MarkerUse::delay:
      if (lines_.size() < k_delay_lines) says_delay_ = true;
      return false;
    case MarkerUse::token:
      if (tokens_.size() < k_tokens_max) tokens_.push_back(line.substr(at));
      return false;
    case MarkerUse::fields:
      has_fields_ = true;
      return false;
    case MarkerUse::begin:
      if (marker->format->delay && lines_.size() < k_delay_lines) says_delay_ = true;
      if (hits_.size() < k_hits_max)
        hits_.push_back({lines_.size(), at + marker->words.size(), marker->format});
      return false;
  }
  return false;
}

void TextLines::look_at(std::string_view line, std::size_t begin) {
  const std::size_t first = decoration_length(line);
  if (take_marker(line, first)) {
    // A header line is the original's first one; any other marker stands before it.
    const bool header = istarts_with(line.substr(first), "received:") ||
                        istarts_with(line.substr(first), "return-path:") ||
                        istarts_with(line.substr(first), "x-envelope-from:");
    original_ = header ? begin : std::min(begin + line.size(), text_.size() - 1);
    return;
  }
  // "example.net rejected your message to the following addresses".
  const std::size_t word_end = line.find(' ', first);
  if (word_end != std::string_view::npos) (void)take_marker(line, word_end + 1);
  int sentences = 0;
  for (std::size_t dot = line.find(". ", first); dot != std::string_view::npos && sentences < 3;
       dot = line.find(". ", dot + 2)) {
    ++sentences;
    std::size_t at = dot + 2;
    while (at < line.size() && line[at] == ' ')
      ++at;
    (void)take_marker(line, at);
  }
}

TextReport read_formats(const TextLines& lines, const TextContext& context) {
  // A notice of a delay opens with words that a failure's has too: its own come first.
  for (const bool delay : {true, false}) {
    for (const TextLines::Hit& hit : lines.hits()) {
      if (hit.format->delay != delay) continue;
      TextReport report = ListReader(lines, context, *hit.format).read(hit.line, hit.offset);
      if (!report.recipients.empty()) return report;
    }
  }
  return {};
}

TextReport read_unknown(const TextLines& lines, const TextContext& context) {
  static constexpr TextFormat k_paragraphs{.rule = "daemon-list"};
  static constexpr TextFormat k_anywhere{.rule = "daemon-text", .shape = Shape::anywhere};
  if (lines.lines().empty()) return {};
  TextReport report = ListReader(lines, context, k_paragraphs).read(0, 0);
  if (!report.recipients.empty()) return report;
  for (std::size_t at = 0; at < std::min(lines.lines().size(), k_unknown_lines); ++at) {
    const std::string_view address = find_address(lines.lines()[at]).address;
    if (address.empty() || is_service(address) || is_own(address, context)) continue;
    if (icontains(lines.lines()[at], "message-id")) continue;
    TextContext one = context;
    one.limit = 1;
    return ListReader(lines, one, k_anywhere).read(at, 0);
  }
  return {};
}

}  // namespace mailotp::mail
