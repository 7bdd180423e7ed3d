#include "tests/fuzz/bounce_invariants.h"

#include <functional>

#include "core/bounce.h"
#include "mail/bounce/find_address.h"
#include "mail/bounce/parser.h"
#include "mail/bounce/scan.h"
#include "tests/fuzz/must.h"

namespace mailotp::fuzz {
namespace {

bool lies_in(std::string_view part, std::string_view whole) {
  const std::less_equal<> not_behind;
  return part.empty() || (not_behind(whole.data(), part.data()) &&
                          not_behind(part.data() + part.size(), whole.data() + whole.size()));
}

void check_recipient(const core::BouncedRecipient& one) {
  must(one.address.size() <= mail::k_address_max && !has_control(one.address),
       "an address is printable and short");
  must(one.diagnostic.size() <= core::k_bounce_diagnostic && !has_control(one.diagnostic),
       "a diagnostic is printable and short");
  must(one.status.size() <= 9 && one.remote_host.size() <= 255 && !has_control(one.remote_host),
       "status and host are short");
  must(one.kind != core::BounceKind::delay || one.permanent == false, "a delay is never permanent");
}

void check_tokens(const std::vector<std::string>& tokens) {
  must(tokens.size() <= core::k_returned_tokens, "there are few tokens");
  for (const std::string& token : tokens)
    must(token.size() <= core::k_returned_token, "a token is short");
}

}  // namespace

void check_scan(std::string_view bytes) {
  const mail::MailBounds bounds;
  const mail::ScannedMail scanned = mail::scan_mail(bytes, bounds);
  const std::string_view seen = bytes.substr(0, bounds.bytes);
  must(scanned.parts.size() <= bounds.parts, "there are no more parts than allowed");
  must(scanned.work <= 10 * seen.size() + 10, "the work is linear in the bytes");
  must(lies_in(scanned.headers, bytes) && lies_in(scanned.body, bytes), "the header lies in the mail");
  must(scanned.headers.size() + scanned.body.size() <= seen.size(), "header and body do not overlap");
  const char* end = scanned.body.data();
  for (const mail::MailPart& part : scanned.parts) {
    must(part.depth <= bounds.depth, "no part is deeper than allowed");
    must(lies_in(part.body, scanned.body), "a part lies in the body");
    must(part.body.empty() || !std::less<>()(part.body.data(), end), "parts follow each other");
    if (!part.body.empty()) end = part.body.data() + part.body.size();
  }
}

void check_parse(std::string_view bytes) {
  const mail::BounceMailbox mailbox{"bounce", "otp.example"};
  const mail::ParsedMail parsed = mail::parse_mail(bytes, mailbox);
  must(parsed == mail::parse_mail(bytes, mailbox), "the same bytes say the same");
  must(parsed.addressed_to.size() <= mail::k_addressed_to, "there are few addresses of ours");
  const core::BounceReport& report = parsed.report;
  must(!report.rule.empty() && report.rule.size() <= core::k_bounce_rule, "a rule decided");
  must(report.recipients.size() <= core::k_bounced_recipients, "there are few recipients");
  for (const core::BouncedRecipient& one : report.recipients)
    check_recipient(one);
  check_tokens(report.envids);
  check_tokens(report.message_ids);
  check_tokens(report.headers);
}

}  // namespace mailotp::fuzz
