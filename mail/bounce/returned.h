// The returned original, as far as its header section goes: who it was for, and what leads back to the mail
// that we sent. Nothing here is verified.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mailotp::mail {

struct ReturnedMail {
  bool seen = false;      // some header field of it was found
  std::string_view from;  // values as written, with folds
  std::string_view return_path;
  std::string_view to;
  std::string_view envelope_to;  // X-Envelope-To, Envelope-To, Delivered-To, X-Original-To
  std::string_view content_type;
  std::vector<std::string> message_ids;  // at most core::k_returned_tokens, without brackets
  std::vector<std::string> headers;      // values of core::k_token_header, likewise
};

// Reads a header section that begins somewhere near the start of `text`: lines of other kinds before it are
// skipped, an indent or "> " that all of its lines have is taken off. Adds to `mail`.
void read_returned(std::string_view text, ReturnedMail& mail);

// One field of it, that stands alone in a text.
void read_returned_line(std::string_view line, ReturnedMail& mail);

// Adds the message ids ("<a@b> <c@d>") of a field value to `ids`, each once, while there is room.
void add_message_ids(std::string_view value, std::vector<std::string>& ids);

}  // namespace mailotp::mail
