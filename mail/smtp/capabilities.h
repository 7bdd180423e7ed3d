// What a relay offers in its reply to EHLO (RFC 5321 section 4.1.1.1), and the part of it that libesmtp is
// told.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mail/smtp/reply_reader.h"

namespace mailotp::mail {

struct Capabilities {
  bool starttls = false;
  bool pipelining = false;
  bool eight_bit_mime = false;
  bool dsn = false;
  bool size_parameter = false;
  std::optional<std::uint64_t> size;  // bytes; 0 as offered means "no limit" and is left out here
  std::vector<std::string> auth;      // mechanisms, upper case; of "AUTH …" and of the old form "AUTH=…"
  std::vector<std::string> keywords;  // all, upper case, printable, for people
};

[[nodiscard]] Capabilities parse_capabilities(const ReplyLines& ehlo);

// The reply to libesmtp's own EHLO: PIPELINING, 8BITMIME, DSN and SIZE where the relay offers them. Never
// CHUNKING (it would be used before the RCPT replies are known), STARTTLS, AUTH, ETRN, XUSR.
[[nodiscard]] std::string engine_ehlo(const Capabilities& capabilities);

}  // namespace mailotp::mail
