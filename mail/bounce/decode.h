// Transfer encodings, encoded words and the few marks of HTML: enough to read what a notice says. Pure;
// broken input gives what can be read of it; the result is never longer than three times its input.
#pragma once

#include <string>
#include <string_view>

#include "mail/bounce/scan.h"

namespace mailotp::mail {

void decode_base64(std::string_view text, std::string& out);            // RFC 2045 section 6.8; appends
void decode_quoted_printable(std::string_view text, std::string& out);  // section 6.7; appends

// RFC 2047 section 2, in any charset: bytes of a charset of one byte a character become UTF-8, others stay.
[[nodiscard]] std::string decode_words(std::string_view text);

// Tags out, line breaks in, the common entities replaced; appends.
void decode_html(std::string_view text, std::string& out);

// The text of a part in lines; what needs no decoding is returned as it is, else it is put into `buffer`.
[[nodiscard]] std::string_view decoded_text(const MailPart& part, std::string& buffer);

// At most `limit` bytes: white space runs are one space, controls and broken UTF-8 become '?'.
[[nodiscard]] std::string printable(std::string_view text, std::size_t limit);

}  // namespace mailotp::mail
