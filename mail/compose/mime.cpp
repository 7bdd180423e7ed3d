#include "mail/compose/mime.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "mail/compose/utf8.h"
#include "mail/compose/wiped_string.h"

namespace mailotp::mail {

namespace {

using core::Errc;

constexpr std::size_t k_header_line = 78;   // RFC 5322 section 2.1.1
constexpr std::size_t k_encoded_word = 75;  // RFC 2047 section 2
constexpr std::size_t k_qp_line = 76;       // RFC 2045 section 6.7
constexpr std::size_t k_longest_line = 998;
constexpr std::string_view k_q_prefix = "=?UTF-8?Q?";
constexpr std::string_view k_b_prefix = "=?UTF-8?B?";
constexpr std::string_view k_word_end = "?=";
constexpr std::size_t k_word_frame = k_q_prefix.size() + k_word_end.size();
constexpr std::string_view k_hex = "0123456789ABCDEF";

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool is_atext(char c) {
  return is_alphanumeric(c) || std::string_view("!#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos;
}

// What may stand unencoded in a Q word inside a display name (RFC 2047 section 5, rule 3): the narrowest of
// the three contexts, so it is safe in a Subject as well.
bool is_q_safe(char c) {
  return is_alphanumeric(c) || std::string_view("!*+-/").find(c) != std::string_view::npos;
}

bool is_printable_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

void append_hex(std::string& out, char c) {
  const auto byte = static_cast<unsigned char>(c);
  out += '=';
  out += k_hex[byte >> 4];
  out += k_hex[byte & 0x0F];
}

std::size_t q_length(std::string_view bytes) {
  std::size_t length = 0;
  for (const char c : bytes)
    length += is_q_safe(c) || c == ' ' ? 1 : 3;
  return length;
}

std::size_t b_length(std::size_t bytes) {
  return (bytes + 2) / 3 * 4;
}

void append_q(std::string& out, std::string_view bytes) {
  for (const char c : bytes) {
    if (c == ' ')
      out += '_';
    else if (is_q_safe(c))
      out += c;
    else
      append_hex(out, c);
  }
}

void append_base64(std::string& out, std::string_view bytes) {
  static constexpr std::string_view k_digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t have = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k)
      group = group << 8 | (k < have ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k)
      out += k <= have ? k_digits[group >> (18 - 6 * k) & 0x3F] : '=';
  }
}

// Appends `value` as encoded words, each whole in its characters, on lines of at most 78; `column` is where
// the first one starts. Returns the column after the last.
std::size_t append_encoded_words(std::string& out, std::string_view value, std::size_t column) {
  const bool use_q = q_length(value) <= b_length(value.size());
  const auto length_of = [use_q](std::string_view bytes) {
    return use_q ? q_length(bytes) : b_length(bytes.size());
  };
  std::size_t start = 0;
  while (start < value.size()) {
    const std::size_t room = std::min(k_encoded_word, k_header_line - column) - k_word_frame;
    std::size_t end = start;
    while (end < value.size()) {
      std::size_t next = end;
      (void)next_code_point(value, next);  // the caller has checked that the value is UTF-8
      if (length_of(value.substr(start, next - start)) > room) break;
      end = next;
    }
    const std::string_view piece = value.substr(start, end - start);
    out += use_q ? k_q_prefix : k_b_prefix;
    if (use_q)
      append_q(out, piece);
    else
      append_base64(out, piece);
    out += k_word_end;
    column += k_word_frame + length_of(piece);
    start = end;
    if (start < value.size()) {
      out += "\r\n ";
      column = 1;
    }
  }
  return column;
}

// Whether every word of a plain ASCII value fits on a folded line; `column` is where the value starts.
bool folds(std::string_view value, std::size_t column) {
  std::size_t room = k_header_line - column;
  for (std::size_t pos = 0; pos < value.size();) {
    const std::size_t word = std::min(value.find_first_not_of(' ', pos), value.size());
    const std::size_t end = std::min(value.find(' ', word), value.size());
    if (end - pos > room) return false;
    room = k_header_line;
    pos = end;
  }
  return true;
}

// Appends a value that folds(): breaks before the blanks between words, which stay.
void append_folded(std::string& out, std::string_view value, std::size_t column) {
  for (std::size_t pos = 0; pos < value.size();) {
    const std::size_t word = std::min(value.find_first_not_of(' ', pos), value.size());
    const std::size_t end = std::min(value.find(' ', word), value.size());
    if (column + (end - pos) > k_header_line) {
      out += "\r\n";
      column = 0;
    }
    out += value.substr(pos, end - pos);
    column += end - pos;
    pos = end;
  }
}

core::Result<> check_header_value(std::string_view name, std::string_view value) {
  for (const char c : value)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7F)
      return core::fail(Errc::invalid, "header " + std::string(name) + " holds a line break or a control");
  if (!valid_utf8(value)) return core::fail(Errc::invalid, "header " + std::string(name) + " is not UTF-8");
  return {};
}

core::Result<> check_body(std::string_view part, std::string_view body) {
  if (body.find('\0') != std::string_view::npos)
    return core::fail(Errc::invalid, "the " + std::string(part) + " part holds a NUL");
  if (body.find('\r') != std::string_view::npos)
    return core::fail(Errc::invalid, "the " + std::string(part) + " part holds a CR");
  if (!valid_utf8(body)) return core::fail(Errc::invalid, "the " + std::string(part) + " part is not UTF-8");
  return {};
}

bool is_plain_phrase(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return is_atext(c) || c == ' '; }) &&
         name.front() != ' ' && name.back() != ' ' && name.find("  ") == std::string_view::npos &&
         name.find("=?") == std::string_view::npos;
}

std::string quoted_string(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

// Appends a display name; returns the column after it.
std::size_t append_display_name(std::string& out, std::string_view name, std::size_t column) {
  if (is_printable_ascii(name) && name.find("=?") == std::string_view::npos) {
    const std::string plain = is_plain_phrase(name) ? std::string(name) : quoted_string(name);
    if (column + plain.size() <= k_header_line) {
      out += plain;
      return column + plain.size();
    }
  }
  return append_encoded_words(out, name, column);
}

void append_part(std::string& out, const MimeMail& mail, std::string_view type, std::string_view body) {
  out += "--";
  out += mail.boundary;
  out += "\r\nContent-Type: ";
  out += type;
  out += "; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n";
  append_quoted_printable(out, body);
  // The CRLF before a boundary belongs to the boundary (RFC 2046 section 5.1.1).
  out += "\r\n";
}

// What stands for itself in quoted-printable: blanks, too, but for one at the end of its line.
constexpr std::array<bool, 256> k_qp_literal = [] {
  std::array<bool, 256> literal{};
  for (std::size_t c = '!'; c <= '~'; ++c)
    literal[c] = c != '=';
  literal[' '] = literal['\t'] = true;
  return literal;
}();

// Eight bytes that all stand for themselves, and none is a tab. Each term has the high bit of a byte that is
// not so: not ASCII; DEL; under the blank; "=".
bool are_literal(std::uint64_t eight) {
  constexpr std::uint64_t k_ones = 0x0101'0101'0101'0101U;
  constexpr std::uint64_t k_high = 0x80 * k_ones;
  const std::uint64_t equals = eight ^ '=' * k_ones;
  return ((eight | (eight + k_ones) | ~((eight | k_high) - ' ' * k_ones) | ((equals - k_ones) & ~equals)) &
          k_high) == 0;
}

// How many bytes at the beginning of `line` stand for themselves; looks at `most` of them.
std::size_t literal_run(std::string_view line, std::size_t most) {
  const std::size_t end = std::min(line.size(), most);
  std::size_t run = 0;
  for (std::uint64_t eight = 0; end - run >= sizeof eight; run += sizeof eight) {
    std::memcpy(&eight, line.data() + run, sizeof eight);
    if (!are_literal(eight)) break;
  }
  while (run < end && k_qp_literal[static_cast<unsigned char>(line[run])])
    ++run;
  return run > 0 && run == line.size() && (line.back() == ' ' || line.back() == '\t') ? run - 1 : run;
}

// One line, without its end.
void append_quoted_line(std::string& out, std::string_view line) {
  std::size_t column = 0;
  while (!line.empty()) {
    const bool risky_start = column == 0 && (line.front() == '.' || line.starts_with("From "));
    const std::size_t run = risky_start ? 0 : literal_run(line, k_qp_line - column);
    if (run == line.size()) {
      out += line;
      return;
    }
    // A line that goes on needs its last column for the "=" of the soft break.
    const std::size_t take = std::min(run, k_qp_line - 1 - column);
    const std::size_t limit = line.size() == 1 ? k_qp_line : k_qp_line - 1;
    if (take > 0) {
      out += line.substr(0, take);
      line.remove_prefix(take);
      column += take;
    } else if (run > 0 || column + 3 > limit) {
      out += "=\r\n";
      column = 0;
    } else {
      append_hex(out, line.front());
      line.remove_prefix(1);
      column += 3;
    }
  }
}

core::Result<> append_headers(std::string& out, const MimeMail& mail) {
  core::Result<> done = append_header(out, "Date", core::format_rfc5322(mail.date));
  if (done) done = append_mailbox_header(out, "From", mail.from);
  if (done) done = append_mailbox_header(out, "To", core::NamedAddress{{}, mail.to});
  if (done) done = append_header(out, "Subject", mail.subject);
  if (done) done = check_header_value("Message-ID", mail.message_id);
  if (!done) return done;
  out += "Message-ID: ";
  out += mail.message_id;
  out += "\r\n";
  for (const Header& header : mail.more)
    if (done = append_header(out, header.name, header.value); !done) return done;
  out += "MIME-Version: 1.0\r\nContent-Type: multipart/alternative;\r\n boundary=\"";
  out += mail.boundary;
  out += "\"\r\n\r\n";
  return {};
}

}  // namespace

void append_quoted_printable(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    append_quoted_line(out, text.substr(0, end));
    if (end == text.size()) return;
    out += "\r\n";
    text.remove_prefix(end + 1);
  }
}

core::Result<> append_header(std::string& out, std::string_view name, std::string_view value) {
  if (auto checked = check_header_value(name, value); !checked) return checked;
  out += name;
  out += ": ";
  const std::size_t column = name.size() + 2;
  const bool plain = is_printable_ascii(value) && value.find("=?") == std::string_view::npos &&
                     !value.starts_with(' ') && !value.ends_with(' ') && folds(value, column);
  if (plain)
    append_folded(out, value, column);
  else
    append_encoded_words(out, value, column);
  out += "\r\n";
  return {};
}

core::Result<> append_mailbox_header(std::string& out, std::string_view name,
                                     const core::NamedAddress& mailbox) {
  const std::string address = mailbox.address.mailbox();
  if (auto checked = check_header_value(name, mailbox.name); !checked) return checked;
  if (auto checked = check_header_value(name, address); !checked) return checked;
  if (!is_printable_ascii(address) || address.size() > k_longest_line / 2)
    return core::fail(Errc::invalid, "header " + std::string(name) + " holds an address that is not one");
  out += name;
  out += ": ";
  if (mailbox.name.empty()) {
    out += address;
  } else {
    const std::size_t column = append_display_name(out, mailbox.name, name.size() + 2);
    out += column + address.size() + 3 > k_header_line ? "\r\n <" : " <";
    out += address;
    out += '>';
  }
  out += "\r\n";
  return {};
}

core::Result<core::Secret> write_mime(const MimeMail& mail) {
  // Worst case of quoted-printable: three for one, and a soft break every 75.
  constexpr std::size_t k_headers_guess = 4096;
  WipedString out;
  out.bytes.reserve(k_headers_guess + 4 * (mail.text.size() + mail.html.size()));
  if (auto done = append_headers(out.bytes, mail); !done) return tl::unexpected(done.error());
  if (auto checked = check_body("text", mail.text); !checked) return tl::unexpected(checked.error());
  if (auto checked = check_body("html", mail.html); !checked) return tl::unexpected(checked.error());
  append_part(out.bytes, mail, "text/plain", mail.text);
  append_part(out.bytes, mail, "text/html", mail.html);
  out.bytes += "--";
  out.bytes += mail.boundary;
  out.bytes += "--\r\n";
  return core::Secret(std::string(out.bytes));
}

}  // namespace mailotp::mail
