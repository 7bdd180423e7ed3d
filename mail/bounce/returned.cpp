#include "mail/bounce/returned.h"

#include <algorithm>

#include "core/bounce.h"
#include "mail/bounce/ascii.h"
#include "mail/bounce/scan.h"

namespace mailotp::mail {
namespace {

constexpr std::size_t k_lines_before = 30;  // of the header section
constexpr CharSet k_not_in_name(" \t<");
constexpr std::size_t k_header_lines = 1000;  // of it

void add_token(std::string_view value, std::vector<std::string>& tokens) {
  if (value.empty() || value.size() > core::k_returned_token || tokens.size() >= core::k_returned_tokens)
    return;
  if (std::find(tokens.begin(), tokens.end(), value) == tokens.end()) tokens.emplace_back(value);
}

bool is_token_header(std::string_view name) {
  return same_ignoring_case(name, core::k_token_header);
}

void take(const HeaderField& field, ReturnedMail& mail) {
  const auto first = [](std::string_view& slot, std::string_view value) {
    if (slot.empty()) slot = trim(value);
  };
  switch (lower(field.name.front())) {
    case 'm':
      if (iequals(field.name, "message-id")) add_message_ids(field.value, mail.message_ids);
      break;
    case 'f':
      if (iequals(field.name, "from")) first(mail.from, field.value);
      break;
    case 'r':
      if (iequals(field.name, "return-path")) first(mail.return_path, field.value);
      break;
    case 't':
      if (iequals(field.name, "to")) first(mail.to, field.value);
      break;
    case 'c':
      if (iequals(field.name, "content-type")) first(mail.content_type, field.value);
      break;
    case 'e':
    case 'd':
    case 'x':
      if (is_token_header(field.name)) {
        std::string buffer;
        add_token(unfold(field.value, buffer), mail.headers);
      }
      if (iequals(field.name, "x-envelope-to") || iequals(field.name, "envelope-to") ||
          iequals(field.name, "delivered-to") || iequals(field.name, "x-original-to")) {
        first(mail.envelope_to, field.value);
      }
      break;
    default:
      break;
  }
}

// Whether the line begins with a field that a mail's header section has, quoted or not; how much to take off.
bool begins_header(std::string_view line, std::size_t& indent) {
  indent = 0;
  while (indent < line.size() && (line[indent] == ' ' || line[indent] == '\t' || line[indent] == '>'))
    ++indent;
  const std::string_view rest = line.substr(indent);
  const std::size_t colon = rest.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon > 60) return false;
  return k_not_in_name.find_in(rest.substr(0, colon)) == std::string_view::npos;
}

void read_plain(std::string_view text, ReturnedMail& mail) {
  HeaderFields fields(text);
  HeaderField field;
  while (fields.lines() < k_header_lines && fields.next(field)) {
    mail.seen = true;
    take(field, mail);
  }
}

}  // namespace

void add_message_ids(std::string_view value, std::vector<std::string>& ids) {
  std::size_t open = value.find('<');
  if (open == std::string_view::npos) {
    value = trim(value);
    if (value.find_first_of(" \t\r\n") == std::string_view::npos) add_token(value, ids);
    return;
  }
  while (open != std::string_view::npos && ids.size() < core::k_returned_tokens) {
    const std::size_t close = value.find('>', open);
    if (close == std::string_view::npos) return;
    add_token(trim(value.substr(open + 1, close - open - 1)), ids);
    open = value.find('<', close);
  }
}

void read_returned_line(std::string_view line, ReturnedMail& mail) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return;
  take({line.substr(0, colon), line.substr(colon + 1)}, mail);
}

void read_returned(std::string_view text, ReturnedMail& mail) {
  Lines lines(text);
  std::string_view line;
  for (std::size_t count = 0; count < k_lines_before; ++count) {
    const std::size_t begin = lines.position();
    if (!lines.next(line)) return;
    std::size_t indent = 0;
    if (!begins_header(line, indent)) continue;
    if (indent == 0) {
      read_plain(text.substr(begin), mail);
      return;
    }
    // A quoted header section: field by field, folds left out.
    do {
      if (line.size() <= indent) return;
      const std::string_view rest = line.substr(indent);
      const std::size_t colon = rest.find(':');
      if (colon != std::string_view::npos && colon > 0 && !is_blank(rest.front())) {
        mail.seen = true;
        take({rest.substr(0, colon), rest.substr(colon + 1)}, mail);
      }
    } while (++count < k_header_lines && lines.next(line));
    return;
  }
}

}  // namespace mailotp::mail
