// Codes and names in the words of a refusal: "smtp; 550 5.1.1 <a@b>: unknown (in reply to RCPT TO command)".
#pragma once

#include <string_view>

#include "core/bounce_class.h"

namespace mailotp::mail {

// The first enhanced status code (RFC 3463: 2, 4 or 5, two more numbers), or empty; not an address of the
// network.
[[nodiscard]] std::string_view find_status(std::string_view text);
// The first reply code of a refusal (RFC 5321 section 4.2.1: 4yz or 5yz), or 0.
[[nodiscard]] int find_reply_code(std::string_view text);
// Which command was refused, as far as the words tell.
[[nodiscard]] core::RefusedAt find_refused_at(std::string_view text);
// The same from a transcript: the command (">>> DATA") whose answer ("<<< 550 …") begins as this reply does.
[[nodiscard]] core::RefusedAt find_refused_at(std::string_view transcript, std::string_view reply);
// The host that said it: "host mx.example.net[192.0.2.1] said", "… (mx.example.net): 550"; or empty.
[[nodiscard]] std::string_view find_remote_host(std::string_view text);

}  // namespace mailotp::mail
