// What a mail that came to the bounce address says. Pure and bounded: no I/O, no clock; the work is linear in
// the bytes looked at (MailBounds::bytes) whatever they are, and never fails: a mail of some other kind is
// core::BounceKind::none. docs/BOUNCES.md lists the formats and their rules.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/bounce.h"
#include "mail/bounce/scan.h"

namespace mailotp::mail {

// Our return path: "bounce@otp.example" receives "bounce+<tag>@otp.example" too.
struct BounceMailbox {
  std::string local;   // compared without regard to case, as the domain is: some servers lower-case it
  std::string domain;  // A-labels
};

// An address of the bounce mailbox that the outermost mail was delivered or addressed to.
struct AddressedTo {
  std::string tag;    // what stands behind "+", as written; empty when there is none
  std::string field;  // the header field that names it, in lower case: "delivered-to", "to", …
  bool operator==(const AddressedTo&) const = default;
};
inline constexpr std::size_t k_addressed_to = 8;

struct ParsedMail {
  core::BounceReport report;
  // Delivered-To, X-Original-To, Envelope-To, X-Envelope-To, Apparently-To, To and Cc in the order of the
  // header, only addresses of the mailbox that was asked for, each tag once, at most k_addressed_to. Empty:
  // not ours.
  std::vector<AddressedTo> addressed_to;
  bool cut = false;      // the mail was larger than a bound: what was looked at is its beginning
  std::size_t work = 0;  // of the scanner, in lines: for tests of the bound
  bool operator==(const ParsedMail&) const = default;
};

struct ParserBounds {
  MailBounds mail;
  std::size_t recipients = core::k_bounced_recipients;  // of the report
};

// `bytes` is the whole mail as it was fetched, or its beginning. An empty mailbox asks about anybody's mail:
// then nothing is addressed to it, and a notice about another notice counts, which for our mailbox is none.
[[nodiscard]] ParsedMail parse_mail(std::string_view bytes, const BounceMailbox& mailbox,
                                    const ParserBounds& bounds = {});

}  // namespace mailotp::mail
