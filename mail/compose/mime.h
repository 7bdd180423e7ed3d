// One mail as RFC 5322 bytes: headers (folded at 78, RFC 2047 words) and multipart/alternative with two
// quoted-printable parts (RFC 2045, 2046). Pure: the same parts give the same bytes.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/address.h"
#include "core/result.h"
#include "core/secret.h"
#include "core/time.h"

namespace mailotp::mail {

struct Header {
  std::string name;
  std::string value;  // UTF-8, one line
};

struct MimeMail {
  core::WallTime date;
  const core::NamedAddress& from;
  const core::Address& to;
  std::string_view subject;     // UTF-8, one line
  std::string_view message_id;  // with angle brackets
  std::string_view boundary;    // 1 to 70 bchars (RFC 2046 section 5.1.1) with "=_" in it: quoted-printable
                                // text never contains that
  std::span<const Header> more;
  std::string_view text;  // UTF-8, lines end in LF
  std::string_view html;
};

// CRLF only; exactly one Date, From, To, Subject, Message-ID; no line over 78 but where an address or a
// Message-ID is longer in one piece, and then never over 998. Errc::invalid names the header or part that
// holds a line break, a control, a NUL, a bare CR or malformed UTF-8; it never repeats the value.
[[nodiscard]] core::Result<core::Secret> write_mime(const MimeMail& mail);

// Appends `text` (lines end in LF) in quoted-printable, lines end in CRLF and have at most 76 characters. A
// leading "." and "From " are encoded as well, so that no relay's dot-stuffing or mbox can change a line.
void append_quoted_printable(std::string& out, std::string_view text);

// Appends "Name: value\r\n" for an unstructured value. Errc::invalid as above.
[[nodiscard]] core::Result<> append_header(std::string& out, std::string_view name, std::string_view value);

// Appends "Name: display name <mailbox>\r\n"; the display name as atoms, a quoted string or encoded words.
[[nodiscard]] core::Result<> append_mailbox_header(std::string& out, std::string_view name,
                                                   const core::NamedAddress& mailbox);

}  // namespace mailotp::mail
