#include "mail/bounce/recipient.h"

#include <algorithm>
#include <array>
#include <string>

#include "core/bounce_class.h"
#include "mail/bounce/ascii.h"
#include "mail/bounce/decode.h"
#include "mail/bounce/find_address.h"
#include "mail/bounce/reply_words.h"

namespace mailotp::mail {
namespace {

using core::BounceClass;
using core::BounceKind;

constexpr std::size_t k_host_max = 255;
constexpr std::size_t k_reply_start = 24;  // "smtp; 550-5.1.1 " and the like

bool is_vague(std::string_view status) {
  return status.empty() || status.ends_with(".0.0");
}

// The far side's own words beat the Status field where they are plainer, or begin with a reply that
// contradicts it: "Status: 4.5.0" over "550 5.5.0 refused" is the reporting server's wish to try again, which
// it gave up.
std::string_view status_of(const Finding& finding, int code) {
  const std::string_view told = find_status(finding.diagnostic);
  if (told.empty() || told.starts_with('2')) return finding.status;
  if (finding.status.empty() || (is_vague(finding.status) && !is_vague(told))) return told;
  const bool begins = static_cast<std::size_t>(told.data() - finding.diagnostic.data()) < k_reply_start;
  const bool replied = code != 0 && code / 100 == told.front() - '0';
  return begins && replied && told.front() != finding.status.front() ? told : finding.status;
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), lower);
  return out;
}

// "550 … user unknown", with nothing in the status that says it of the address.
bool is_bare_unknown(const Finding& finding, std::string_view status, int code) {
  if (code < 500 || (status.size() > 3 && status.substr(1, 3) == ".1.")) return false;
  std::size_t at = ifind(finding.diagnostic, "user unknown");
  if (at == std::string_view::npos) at = ifind(finding.diagnostic, "unknown user");
  return at != std::string_view::npos && find_reply_code(finding.diagnostic.substr(0, at)) == code;
}

// Which command was refused. A bare "user unknown" that nothing ties to RCPT is taken as said after the
// message itself: a server that took the recipient and then refused the mail may have its reasons (a filter,
// a handset that takes mail from friends alone), and to declare a living address dead costs more than to try
// a dead one again.
core::RefusedAt stage_of(const Finding& finding, std::string_view status, int code) {
  const core::RefusedAt said = find_refused_at(finding.diagnostic);
  if (said != core::RefusedAt::unknown) return said;
  // The text names the command where the fields leave it out: in a transcript, or of this recipient.
  core::RefusedAt told = find_refused_at(finding.around, finding.diagnostic);
  if (told == core::RefusedAt::unknown) told = find_refused_at(finding.said);
  if (!is_bare_unknown(finding, status, code))
    return code >= 500 && told != core::RefusedAt::rcpt ? told : core::RefusedAt::unknown;
  if (!finding.address.empty() && icontains(finding.around, "rcpt to:<" + lower_case(finding.address)))
    return core::RefusedAt::rcpt;
  if (told != core::RefusedAt::unknown) return told;
  static constexpr std::array<std::string_view, 4> k_signs{"rcpt", "does not like recipient",
                                                           "recipient address rejected", "mailbox table"};
  const bool rcpt = std::any_of(k_signs.begin(), k_signs.end(), [&](std::string_view sign) {
    return icontains(finding.diagnostic, sign) || icontains(finding.around, sign);
  });
  if (rcpt) return core::RefusedAt::rcpt;
  const bool disabled = status.ends_with(".2.1");  // says enough without
  return disabled ? core::RefusedAt::unknown : core::RefusedAt::data;
}

void add_class(const Finding& finding, int code, core::BouncedRecipient& out) {
  const std::size_t at = out.address.rfind('@');
  const std::string domain =
      at == std::string::npos ? std::string() : lower_case(std::string_view(out.address).substr(at + 1));
  core::RefusalWords words{.status = out.status,
                           .code = code,
                           .diagnostic = finding.diagnostic,
                           .remote_host = out.remote_host,
                           .recipient_domain = domain,
                           .at = stage_of(finding, out.status, code)};
  core::RefusalClass found = core::classify(words);
  if (words.at == core::RefusedAt::rcpt && found.bounce_class == BounceClass::user_unknown) {
    // A second-hand 550 alone, without words or a status, proves nothing about the address.
    words.at = core::RefusedAt::unknown;
    const core::RefusalClass by_words = core::classify(words);
    if (by_words.bounce_class == BounceClass::unknown) found = by_words;
  }
  if (finding.kind == BounceKind::delay && found.bounce_class == BounceClass::unknown)
    found.bounce_class = BounceClass::expired;
  out.bounce_class = found.bounce_class;
  out.null_mx = found.null_mx;
  if (found.permanent) out.permanent = found.permanent;
  // Nobody gave a code: what does not exist will not exist tomorrow.
  const bool dead =
      found.bounce_class == BounceClass::user_unknown || found.bounce_class == BounceClass::host_unknown;
  if (!out.permanent && dead) out.permanent = true;
}

}  // namespace

core::BouncedRecipient recipient_of(const Finding& finding) {
  core::BouncedRecipient out;
  out.address = printable(finding.address, k_address_max);
  out.kind = finding.kind;
  out.diagnostic = printable(finding.diagnostic, core::k_bounce_diagnostic);
  const int code = find_reply_code(finding.diagnostic);
  const std::string_view status = status_of(finding, code);
  out.status = status;
  const std::string_view host =
      finding.remote_host.empty() ? find_remote_host(finding.diagnostic) : finding.remote_host;
  out.remote_host = lower_case(printable(host, k_host_max));
  if (finding.kind == BounceKind::success) return out;
  // The field's class counts even where the words give the plainer code.
  const bool contradicted = !status.empty() && !finding.status.empty() && !is_vague(finding.status) &&
                            status.front() != finding.status.front();
  if (!finding.status.empty() && !contradicted) {
    out.permanent = finding.status.starts_with('5');
  } else if (!status.empty()) {
    out.permanent = status.starts_with('5');
  } else if (code != 0) {
    out.permanent = code >= 500;
  }
  add_class(finding, code, out);
  if (out.kind == BounceKind::delay) out.permanent = false;
  return out;
}

}  // namespace mailotp::mail
