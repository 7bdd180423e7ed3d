#include "mail/smtp/sendable.h"

#include <algorithm>
#include <array>
#include <climits>

namespace mailotp::mail {

namespace {

constexpr std::size_t k_plain_bytes = 80;
constexpr std::size_t k_address_bytes = 254;  // RFC 5321 section 4.5.3.1.3

struct Field {
  std::string_view name;
  enum class Rule { exactly_one, at_most_one, none } rule;
};
// What libesmtp adds when it is missing, drops when it comes twice, or always drops.
constexpr std::array k_fields{
    Field{"date", Field::Rule::exactly_one},
    Field{"from", Field::Rule::exactly_one},
    Field{"message-id", Field::Rule::exactly_one},
    Field{"to", Field::Rule::at_most_one},
    Field{"cc", Field::Rule::at_most_one},
    Field{"bcc", Field::Rule::at_most_one},
    Field{"reply-to", Field::Rule::at_most_one},
    Field{"sender", Field::Rule::at_most_one},
    Field{"disposition-notification-to", Field::Rule::at_most_one},
    Field{"return-path", Field::Rule::none},
    Field{"original-recipient", Field::Rule::none},
    Field{"resent-reply-to", Field::Rule::none},
};

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [&](char x, char y) { return lower(x) == lower(y); });
}

bool is_address(std::string_view mailbox) {
  return mailbox.size() <= k_address_bytes &&
         std::all_of(mailbox.begin(), mailbox.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

std::optional<std::string> bad_bytes(std::string_view content) {
  if (content.size() > INT_MAX) return "the mail is too large";
  for (std::size_t i = 0; i < content.size(); ++i) {
    if (content[i] == '\0') return "the mail has a NUL";
    if (content[i] == '\r' && (i + 1 == content.size() || content[i + 1] != '\n'))
      return "the mail has a bare CR";
    if (content[i] == '\n' && (i == 0 || content[i - 1] != '\r')) return "the mail has a bare LF";
  }
  return std::nullopt;
}

std::optional<std::string> bad_header(std::string_view header) {
  std::array<int, k_fields.size()> seen{};
  for (std::size_t at = 0; at < header.size(); at = header.find("\r\n", at) + 2) {
    const std::string_view line = header.substr(at, header.find("\r\n", at) - at);
    if (at == 0 && (line.starts_with(' ') || line.starts_with('\t')))
      return "the mail starts with a folded line";
    const std::string_view name = line.substr(0, line.find(':'));
    for (std::size_t i = 0; i < k_fields.size(); ++i)
      if (same_name(name, k_fields[i].name)) ++seen[i];
  }
  for (std::size_t i = 0; i < k_fields.size(); ++i) {
    const Field::Rule rule = k_fields[i].rule;
    const int most = rule == Field::Rule::none ? 0 : 1;
    const int least = rule == Field::Rule::exactly_one ? 1 : 0;
    if (seen[i] < least || seen[i] > most)
      return "the mail has " + std::to_string(seen[i]) + " fields " + std::string(k_fields[i].name);
  }
  return std::nullopt;
}

}  // namespace

bool is_plain_parameter(std::string_view text) {
  return !text.empty() && text.size() <= k_plain_bytes &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x21 && c <= 0x7e; });
}

std::optional<std::string> why_unsendable(const core::Job& job) {
  if (!is_address(job.return_path)) return "the return path is not an address that SMTP can carry";
  if (!is_address(job.recipient) || job.recipient.empty())
    return "the recipient is not an address that SMTP can carry";
  const std::string_view content = job.content.reveal();
  if (auto why = bad_bytes(content)) return why;
  const std::size_t header_end = content.find("\r\n\r\n");
  if (header_end == std::string_view::npos) return "the mail has no end of its header";
  return bad_header(content.substr(0, header_end + 2));
}

}  // namespace mailotp::mail
