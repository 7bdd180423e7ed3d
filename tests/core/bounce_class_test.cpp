// Why a mail was refused: sentences as MTAs and providers write them, by class; what wins over what; hostile
// input.
#include "core/bounce_class.h"

#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include "core/bounce.h"

namespace mailotp::core {
namespace {

using Class = BounceClass;

struct Row {
  Class expected;
  std::string_view diagnostic;
  std::string_view status = {};
  std::string_view host = {};
  RefusedAt at = RefusedAt::unknown;
};

void check(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    CAPTURE(row.diagnostic, row.status, row.host);
    const RefusalClass got = classify({.status = row.status,
                                       .code = 0,
                                       .diagnostic = row.diagnostic,
                                       .remote_host = row.host,
                                       .recipient_domain = {},
                                       .at = row.at});
    CHECK(to_string(got.bounce_class) == to_string(row.expected));
  }
}

Class class_of(std::string_view diagnostic, std::string_view status = {}) {
  return classify({.status = status,
                   .code = 0,
                   .diagnostic = diagnostic,
                   .remote_host = {},
                   .recipient_domain = {},
                   .at = RefusedAt::unknown})
      .bounce_class;
}

TEST_CASE("words of each class, without a code that says why") {
  check({
      {Class::user_unknown, "550 <nobody@mail.example>: Recipient address rejected: User unknown in table"},
      {Class::user_unknown, "550 5.0.0 <nobody@mail.example>... User unknown", "5.0.0"},
      {Class::user_unknown, "550 Requested action not taken: mailbox unavailable"},
      {Class::user_unknown, "554 delivery error: dd This user doesn't have a mail.example account"},
      {Class::user_unknown, "550 No such recipient here"},
      {Class::user_unknown, "The recipient has moved, and left no address"},
      {Class::user_unknown, "551 not our customer"},
      {Class::user_unknown, "550 Benutzer unbekannt"},
      {Class::user_unknown, "550 Utilisateur inconnu"},
      {Class::user_unknown, "550 Usuario desconocido"},
      {Class::user_unknown, "550 Utente sconosciuto"},
      {Class::user_unknown, "550 Пользователь не найден"},
      {Class::user_unknown, "550 用户不存在"},
      {Class::host_unknown, "Host or domain name not found. Name service error for name=gone.example type=A"},
      {Class::host_unknown, "550 No such domain at this location"},
      {Class::host_not_accepting, "Sorry, I couldn't find a mail exchanger or IP address. (#5.4.4)"},
      {Class::host_not_accepting, "Domain gone.example does not accept mail (nullMX)"},
      {Class::mailbox_disabled, "554 This account has been disabled or discontinued"},
      {Class::mailbox_disabled, "550 Mailbox is frozen"},
      {Class::mailbox_full, "552 over quota, try again later"},
      {Class::mailbox_full, "550 The mailbox is full"},
      {Class::mailbox_full, "452 the recipient's inbox is out of storage space"},
      {Class::mailbox_full, "550 Postfach ist voll"},
      {Class::mailbox_full, "550 ящик переполнен"},
      {Class::expired, "retry timeout exceeded"},
      {Class::expired,
       "delivery temporarily failed: connect to mx.gone.example[192.0.2.9]:25: Connection timed out"},
      {Class::network, "554 too many hops, this message is looping"},
      {Class::network, "Host not found, try again"},
      {Class::recipient_filtered, "550 message rejected due to user rules"},
      {Class::rate_limited, "421 too many concurrent connections from you"},
      {Class::rate_limited, "450 the user is receiving mail too quickly"},
      {Class::greylisted, "450 4.2.0 <a@mail.example>: Recipient address rejected: Greylisted", "4.2.0"},
      {Class::ip_blocked, "554 Service unavailable; Client host [192.0.2.7] blocked using bl.example.org"},
      {Class::ip_blocked, "550 your IP has a poor reputation"},
      {Class::ip_blocked, "554 cannot find your reverse hostname, [192.0.2.7]"},
      {Class::auth, "550 the domain's DMARC policy rejects this mail"},
      {Class::auth, "550 SPF check failed"},
      {Class::sender_rejected, "553 sender address rejected: domain does not resolve"},
      {Class::sender_rejected, "550 Sender verify failed"},
      {Class::sender_rejected, "La grupo eble ne ekzistas (https://groups.google.com/support/)."},
      {Class::spam, "554 this message appears to be spam"},
      {Class::spam, "550 message content rejected, UBE, id=1"},
      {Class::content, "554 a virus was found: virus detected"},
      {Class::content, "550 message content rejected, id=1 - BANNED: a.exe"},
      {Class::too_large, "552 message size exceeds fixed maximum message size"},
      {Class::policy, "554 <a@mail.example>: Relay access denied"},
      {Class::policy, "554 not accepted for policy reasons"},
      {Class::security, "530 must issue a STARTTLS command first"},
      {Class::security, "550 unauthenticated senders not allowed"},
      {Class::system, "procmail: couldn't create a mailbox: no such user"},
      {Class::system, "451 temporary system problem"},
      {Class::suppressed, "550 the address is on the suppression list"},
      {Class::unknown, ""},
      {Class::unknown, "something happened"},
  });
}

TEST_CASE("codes of the registry, without words") {
  check({
      {Class::user_unknown, "", "5.1.1"},
      {Class::user_unknown, "", "5.1.3"},
      {Class::user_unknown, "", "5.1.6"},
      {Class::user_unknown, "", "5.7.17"},
      {Class::host_unknown, "", "5.1.2"},
      {Class::host_unknown, "", "5.4.4"},
      {Class::host_not_accepting, "", "5.1.10"},
      {Class::host_not_accepting, "", "5.3.2"},
      {Class::mailbox_disabled, "", "5.2.1"},
      {Class::mailbox_disabled, "", "5.7.13"},
      {Class::mailbox_full, "", "4.2.2"},
      {Class::mailbox_full, "", "5.2.2"},
      {Class::recipient_filtered, "", "5.2.0"},
      {Class::expired, "", "4.4.7"},
      {Class::expired, "", "4.4.1"},
      {Class::network, "", "4.4.2"},
      {Class::network, "", "5.4.6"},
      {Class::auth, "", "5.7.26"},
      {Class::ip_blocked, "", "5.7.25"},
      {Class::sender_rejected, "", "5.1.8"},
      {Class::sender_rejected, "", "5.7.27"},
      {Class::security, "", "5.7.10"},
      {Class::too_large, "", "5.3.4"},
      {Class::too_large, "", "5.2.3"},
      {Class::content, "", "5.6.0"},
      {Class::policy, "", "5.7.1"},
      {Class::system, "", "4.3.0"},
      {Class::unknown, "", "5.0.0"},
      {Class::unknown, "", "nonsense"},
      {Class::unknown, "", "5.1"},
  });
}

TEST_CASE("what providers mean by codes and tags of their own") {
  check({
      {Class::user_unknown, "550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found by address lookup",
       "5.1.10"},
      {Class::user_unknown, "550 5.4.1 Recipient address rejected: Access denied. [X.prod]", "5.4.1",
       "a.mail.protection.outlook.com"},
      {Class::user_unknown, "550 5.1.10 gone", "5.1.10", "a.mail.protection.outlook.com"},
      {Class::host_not_accepting, "550 5.1.10 gone", "5.1.10", "mx.mail.example"},
      {Class::host_not_accepting, "550 5.1.10 gone", "5.1.10", "notoutlook.com"},
      {Class::ip_blocked, "550 5.7.606 access denied", "5.7.606"},
      {Class::ip_blocked,
       "451 4.7.650 the mail server has been temporarily rate limited due to IP reputation", "4.7.650"},
      {Class::auth, "550 5.7.509 access denied, the domain does not pass DMARC verification", "5.7.509"},
      {Class::security, "550 5.7.1 RESOLVER.RST.AuthRequired; authentication required", "5.7.1"},
      {Class::rate_limited,
       "550-5.2.1 The user you are trying to contact is receiving mail at a rate 550 5.2.1 that prevents "
       "more",
       "5.2.1"},
      {Class::ip_blocked, "421 4.7.0 [TSS04] Messages from 192.0.2.7 temporarily deferred", "4.7.0"},
      {Class::policy, "554 Message not allowed - [PH01] Email not accepted for policy reasons."},
      {Class::mailbox_disabled, "554 30 Sorry, this mailbox is disabled (554.30)"},
      {Class::user_unknown, "550 5.5.0 Adresse invalide. OFR007_416 [416]", "5.5.0"},
      {Class::ip_blocked, "550 ME Adresse IP source bloquee pour incident de spam. OFR006_102"},
      {Class::recipient_filtered, "550 : User unknown", "5.0.0", "lsean.ezweb.ne.jp"},
      {Class::user_unknown, "550 <a@ezweb.ne.jp>: User unknown", "5.0.0", "lsean.ezweb.ne.jp"},
      {Class::recipient_filtered, "550 Unknown user a@docomo.ne.jp", "5.2.0", "mfsmax.docomo.ne.jp"},
      {Class::rate_limited, "550 Connection frequency limited [x Blocked IP 192.0.2.7]"},
  });
}

TEST_CASE("what wins over what") {
  check({
      // Certain words stand against a code.
      {Class::mailbox_full, "552 sorry, mailbox a@mail.example is over quota temporarily (#5.1.1)", "5.1.1"},
      {Class::ip_blocked, "550 5.7.1 IP address blacklisted by recipient", "5.1.1"},
      // Plain words do not …
      {Class::mailbox_disabled, "550 5.2.1 a@mail.example... User Unknown", "5.2.1"},
      {Class::user_unknown, "550 5.1.1 not allowed", "5.1.1"},
      // … but refine one that says little.
      {Class::user_unknown, "550 5.7.1 a@mail.example: Recipient address rejected: User unknown", "5.7.1"},
      {Class::host_unknown, "550 5.4.4 Invalid domain", "5.4.4"},
      // The code in the text stands for a field that says nothing.
      {Class::mailbox_full, "452 4.2.2 try again", "5.0.0"},
      {Class::user_unknown, "550 5.1.1 no", ""},
      // Longer phrases hide shorter ones inside them.
      {Class::user_unknown, "550 5.7.1 User unknown in relay recipient table", "5.7.1"},
      {Class::spam, "554 message rejected as spam by user"},
      {Class::mailbox_disabled, "550 mailbox unavailable or access denied"},
      // An address or a name in it says nothing.
      {Class::user_unknown, "550 <spam.greylist@dmarc.example>: no such user"},
      {Class::user_unknown, "550 5.1.1 <over.quota@virus.example>", "5.1.1"},
  });
}

TEST_CASE("an unknown user after DATA is a filter, before it he is unknown") {
  constexpr std::string_view words = "550 User unknown";
  check({
      {Class::recipient_filtered, words, "5.0.0", {}, RefusedAt::data},
      {Class::user_unknown, words, "5.0.0", {}, RefusedAt::rcpt},
      {Class::user_unknown, words, "5.0.0", {}, RefusedAt::unknown},
      {Class::user_unknown, words, "5.1.1", {}, RefusedAt::data},
  });
}

TEST_CASE("words that name an address or a domain mean the one that the command gave") {
  check({
      {Class::sender_rejected, "550 5.7.1 a@mail.example... Access denied", "5.7.1", {}, RefusedAt::mail},
      {Class::sender_rejected, "550 domain not found", {}, {}, RefusedAt::mail},
      {Class::sender_rejected, "550 user unknown", {}, {}, RefusedAt::mail},
      {Class::ip_blocked, "501 invalid domain name", {}, {}, RefusedAt::session},
      {Class::ip_blocked, "550 access denied", {}, {}, RefusedAt::session},
      // Certain words stand.
      {Class::policy, "550 relaying denied", {}, {}, RefusedAt::mail},
      {Class::rate_limited, "421 too many connections", {}, {}, RefusedAt::session},
      // The mailbox exists, says the code; but RCPT answers about nothing else than the address.
      {Class::user_unknown, "550 5.2.1 user unknown", "5.2.1", {}, RefusedAt::rcpt},
      {Class::mailbox_disabled, "550 5.2.1 user unknown", "5.2.1"},
      {Class::recipient_filtered, "550 5.2.1 user unknown", "5.2.1", {}, RefusedAt::data},
      {Class::user_unknown, "550 5.2.0 user unknown", "5.2.0", {}, RefusedAt::rcpt},
      {Class::recipient_filtered, "550 5.2.0 user unknown", "5.2.0"},
  });
}

TEST_CASE("the reply code and its stage, when nothing else says why") {
  const auto by_code = [](int code, RefusedAt at) {
    return classify({.status = {},
                     .code = code,
                     .diagnostic = "no",
                     .remote_host = {},
                     .recipient_domain = {},
                     .at = at})
        .bounce_class;
  };
  CHECK(by_code(550, RefusedAt::rcpt) == Class::user_unknown);
  CHECK(by_code(553, RefusedAt::rcpt) == Class::user_unknown);
  CHECK(by_code(554, RefusedAt::rcpt) == Class::policy);
  CHECK(by_code(450, RefusedAt::rcpt) == Class::unknown);
  CHECK(by_code(550, RefusedAt::mail) == Class::sender_rejected);
  CHECK(by_code(554, RefusedAt::session) == Class::ip_blocked);
  CHECK(by_code(554, RefusedAt::data) == Class::content);
  CHECK(by_code(552, RefusedAt::data) == Class::too_large);
  CHECK(by_code(503, RefusedAt::unknown) == Class::system);
  CHECK(by_code(556, RefusedAt::rcpt) == Class::host_not_accepting);
  CHECK(by_code(550, RefusedAt::unknown) == Class::unknown);
}

TEST_CASE("permanence: only where the words know better than the field") {
  const auto permanent = [](std::string_view status, std::string_view diagnostic, int code = 0) {
    return classify({.status = status,
                     .code = code,
                     .diagnostic = diagnostic,
                     .remote_host = {},
                     .recipient_domain = {},
                     .at = RefusedAt::unknown})
        .permanent;
  };
  CHECK(permanent("5.0.0", "452 4.2.2 over quota, try again") == false);
  CHECK(permanent("4.5.0", "550 5.5.0 refused") == true);
  CHECK_FALSE(permanent("5.0.0", "550 5.1.1 user unknown"));
  CHECK_FALSE(permanent("4.0.0", "554 blocked"));
  // Neither a code nor a field: an address that does not exist stays so.
  CHECK(permanent("", "Unknown user: a@mail.example") == true);
  CHECK_FALSE(permanent("", "Unknown user", 550));
  CHECK_FALSE(permanent("", "mailbox full"));
}

TEST_CASE("a null MX is told from other hosts that take no mail") {
  const auto null_mx = [](std::string_view status, int code, std::string_view diagnostic) {
    return classify({.status = status,
                     .code = code,
                     .diagnostic = diagnostic,
                     .remote_host = {},
                     .recipient_domain = {},
                     .at = RefusedAt::unknown})
        .null_mx;
  };
  CHECK(null_mx("5.1.10", 0, ""));
  CHECK(null_mx("", 556, "no mail here"));
  CHECK(null_mx("5.0.0", 0, "Domain a.example does not accept mail (nullMX)"));
  CHECK_FALSE(null_mx("5.3.2", 0, ""));
  CHECK_FALSE(null_mx("5.1.1", 556, "user unknown"));
  CHECK_FALSE(null_mx("5.1.10", 0, "RESOLVER.ADR.RecipientNotFound"));
}

TEST_CASE("case, folded lines and the codes of many lines are all the same") {
  for (const std::string_view text : {
           "550 5.7.1 the account that you tried to reach does not exist",
           "550 5.7.1 THE ACCOUNT THAT YOU TRIED TO REACH DOES NOT EXIST",
           "550-5.7.1 the account that you\r\n\t tried to reach  does not exist",
           "550-5.7.1 the account that 550-5.7.1 you tried to reach 550 5.7.1 does not exist",
           "550-the account that 550-you tried to reach does not exist",
       }) {
    CAPTURE(text);
    CHECK(class_of(text) == Class::user_unknown);
  }
}

TEST_CASE("words that a longer text turns around") {
  check({
      {Class::recipient_filtered, "This user doesn't have a mail.example account (a@mail.example)"},
      {Class::recipient_filtered, "Invalid Address, ERROR_CODE :550, ERROR_CODE :Requested action not taken"},
      {Class::expired, "Error, ERROR_CODE :421, Host not reachable"},
      {Class::unknown, "550 5.0.0 <a@mail.example>: Recipient address rejected: On hold", "5.0.0"},
      {Class::unknown, "450 4.0.0 Temporary failure", "4.0.0"},
      {Class::system, "451 Temporary failure, come again"},
      {Class::ip_blocked,
       "550-5.7.1 this message is likely suspicious due to the very low reputation of the "
       "sending domain, and is blocked",
       "5.7.1"},
      {Class::ip_blocked, "550 You cannot send E-Mail to yourself"},
      {Class::content, "554 Email rejected due to security policies - MCSpamSignature.x.1", "5.0.0"},
      {Class::policy, "554 Email rejected due to security policies", "5.0.0"},
      {Class::host_unknown, "550 5.1.2 a@mail.example... Host unknown (Name server: .: host not found)",
       "5.1.2"},
      {Class::network,
       "Sorry, I wasn't able to establish an SMTP connection. (#4.4.1) I'm not going to try "
       "again; this message has been in the queue too long.",
       "4.4.1"},
      {Class::system, "452 4.4.5 Insufficient disk space; try again later", "4.4.7"},
      {Class::system, "local-part of envelope contains utf8 but remote server did not offer SMTPUTF8"},
  });
}

TEST_CASE("more words of servers, lists and providers") {
  check({
      {Class::user_unknown, "550 Recipient address rejected: userunknown here"},
      {Class::user_unknown, "550 User (reader) unknown at this place"},
      {Class::user_unknown, "553 Recipient mailbox is not allowed by the list"},
      {Class::user_unknown, "El usuario no se encuentra en el Directorio de Domino"},
      {Class::user_unknown, "reader non connu dans l'annuaire Domino"},
      {Class::user_unknown, "550 sorry (state 14)."},
      {Class::recipient_filtered, "554 user reject of this mail"},
      {Class::sender_rejected, "550 sending this from a different address or alias than yours"},
      {Class::sender_rejected, "550 the sender is on our refusal list"},
      {Class::sender_rejected, "550 RESOLVER.RST.NotAuthorized; not for you"},
      {Class::sender_rejected, "your From: header may cause mail loop"},
      {Class::sender_rejected, "reject spammers: a@mail.example"},
      {Class::sender_rejected, "550 sender a@mail.example rejected"},
      {Class::sender_rejected, "553 Sorry, your domain has been blocked here"},
      {Class::sender_rejected, "553 Sorry, your email address has been blocked here"},
      {Class::sender_rejected, "553 Sorry, your domain has been blacklisted here"},
      {Class::sender_rejected, "550 sender envelope domain not allowed for you"},
      {Class::system, "452 mail system full, sorry"},
      {Class::system, "Timeout performing search on LDAP server"},
      {Class::system, "cannot login into LDAP server"},
      {Class::system, "550 RESOLVER.ADR.BadPrimary; x"},
      {Class::system, "550 RESOLVER.ADR.InvalidInSmtp; x"},
      {Class::system, "550 RESOLVER.ADR.Ambiguous; x"},
      {Class::system, "the list has detected a loop condition"},
      {Class::system, "Loop Back Warning: twice here"},
      {Class::system, "This domain's DNS violates RFC 1035 badly"},
      {Class::security, "553 you don't authenticate or the domain is not ours"},
      {Class::security, "550 submitter failed to log in"},
      {Class::security, "Security alert: forged"},
      {Class::security, "Could not retrieve credentials for the relay"},
      {Class::security, "500 the server does not support TLS (state 6)."},
      {Class::content, "550 Requested action aborted [4] 1234"},
      {Class::content, "550 Agent generated message depth exceeded it"},
      {Class::content, "Duplicated Message-ID in the list"},
      {Class::content, "554 Virus infected message. IB705"},
      {Class::content, "550 Blank From: is not taken. IB501"},
      {Class::policy, "550 recipient is not accepting mail with pictures"},
      {Class::policy, "554 Host network, not allowed"},
      {Class::policy, "500 no support: server does not support SMTP Authenticated Relay"},
      {Class::policy, "550 this is a closed mailing list"},
      {Class::policy, "550 messages with multiple addresses are not read"},
      {Class::policy, "550 POL-P8 see our page"},
      {Class::policy, "550 no service OFR006_630"},
      {Class::mailbox_full, "userdisk quota of reader is used"},
      {Class::mailbox_full, "450 INT-P7 see our page"},
      {Class::mailbox_full, "error: quota exceed on disk"},
      {Class::network, "451 The incorrect hostname used for inbounds"},
      {Class::network, "Could not retrieve source address for it"},
      {Class::network, "No valid route to the MX"},
      {Class::network, "All routes to destination blocked"},
      {Class::rate_limited, "550 frequency of receiving messages is limited to ten"},
      {Class::rate_limited, "550 RESOLVER.ADR.RecipLimit; too many"},
      {Class::rate_limited, "550 Mailbox unavailable or access denined"},
      {Class::rate_limited, "421 Connection refused, slower. IB007"},
      {Class::rate_limited, "421 come later. IB101"},
      {Class::rate_limited, "550 new session please. IB510"},
      {Class::ip_blocked, "421 4.7.0 Try again later, closing connection. x"},
      {Class::ip_blocked, "501 5.5.4 Invalid domain name"},
      {Class::ip_blocked, "Connected to 192.0.2.1 but greeting failed."},
      {Class::ip_blocked, "550 5.7.51 RestrictDomainsToIPAddresses"},
      {Class::ip_blocked, "550 your access IP 192.0.2.1 has been rejected"},
      {Class::host_not_accepting,
       "Name service error for name=mail.example type=MX: Malformed or unexpected name server reply"},
      {Class::host_not_accepting, "Hosts seem to reject all mails"},
      {Class::host_not_accepting, "No MX found for mail.example"},
      {Class::host_not_accepting, "550 mail receiving disabled today"},
      {Class::host_unknown, "SMTPSEND.DNS.NonExistentDomain; nonexistent"},
      {Class::host_unknown, "DNS lookup failure: host mail.example not found"},
      {Class::expired, "Message 1 has been frozen by the filter"},
      {Class::expired, "Message 1 was frozen on arrival"},
      {Class::expired, "Delivery failed after 20 attempts"},
      {Class::mailbox_disabled, "550 reader has been suspended"},
      {Class::spam, "550 mail score (9 over 5)"},
      {Class::spam, "550 as it seems to be a spam to us"},
      {Class::spam, "553 filtered by outbound scanning"},
      {Class::spam, "550 no thanks - spam"},
      {Class::spam, "550 block for spam"},
      {Class::spam, "550 temporarily blocked by our filter"},
      {Class::user_unknown, "550 <a@ezweb.ne.jp>: User unknown", "5.0.0", "mx.au.com", RefusedAt::data},
      {Class::recipient_filtered, "550 <a@mail.example>: User unknown", "5.0.0", "mx.mail.example",
       RefusedAt::data},
      {Class::sender_rejected, "550 Suspected spam", "5.0.0", "mx3.qq.com"},
      {Class::sender_rejected, "550 the BATV tag is missing"},
      {Class::sender_rejected, "550 you are not on its list of senders to accept mail from"},
      {Class::sender_rejected, "550 bogus mail from"},
      {Class::sender_rejected, "550 denied [BounceDeny]"},
      {Class::sender_rejected, "550 a@mail.example does not exist E2110"},
      {Class::sender_rejected, "550 we take no third-party DSNs"},
      {Class::sender_rejected, "550 invalid domain, see our page"},
      {Class::sender_rejected, "550 the sender is in my black list"},
      {Class::sender_rejected, "550 your sender address has been blacklisted"},
      {Class::sender_rejected, "554 unsigned DSN for a@mail.example"},
      {Class::sender_rejected, "550 rule imposed mailbox access"},
      {Class::sender_rejected, "554 Message rejected: Email address is not verified."},
      {Class::sender_rejected, "550 recursive CNAME records"},
      {Class::sender_rejected, "550 all recipient addresses rejected : Access denied"},
      {Class::mailbox_full, "452 not sufficient disk space"},
      {Class::mailbox_full, "552 mailbox exceeded its limit"},
      {Class::mailbox_full, "552 not enough free space"},
      {Class::rate_limited, "454 Throttling failure: daily message quota exceeded"},
      {Class::rate_limited, "421 too many errors from your IP"},
      {Class::auth, "550 it does not meet the required authentication level"},
      {Class::policy, "553 sorry, that domain isn't in my list of allowed rcpthosts"},
      {Class::policy, "550 we don't handle mail for mail.example"},
      {Class::content, "554 virus phishing/malicious_url detected"},
      {Class::sender_rejected,
       "error after end of data: host a.example: 553 <a@mail.example> does not exist"},
      {Class::recipient_filtered, "554 554 5.7.0 no thanks (state 18).", "5.7.0"},
      {Class::system, "535 SMTP AUTH failed with the remote server. (state 8)."},
      {Class::mailbox_full, "cannot update mailbox: error writing message: File too large"},
      {Class::system, "504 Command parameter not implemented", "5.0.0", "mx.docomo.ne.jp", RefusedAt::data},
      {Class::sender_rejected, "550 5.7.1 no", "5.7.1", {}, RefusedAt::mail},
      {Class::spam, "550 Suspected spam", "5.0.0", "mx.mail.example"},
  });
}

TEST_CASE("only the first 2,000 bytes count") {
  const std::string_view words = "user unknown";
  std::string text(2000 - words.size() - 1, 'x');
  text += " ";
  CHECK(class_of(text + std::string(words)) == Class::user_unknown);
  CHECK(class_of("x" + text + std::string(words)) == Class::unknown);
  CHECK(class_of(std::string(1'000'000, '@')) == Class::unknown);
}

TEST_CASE("arbitrary bytes never harm") {
  std::uint32_t state = 2463534242;  // xorshift32
  const auto next = [&state] {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
  };
  // Half of it made of what the tables look for, so that pieces meet in ways that no sentence has.
  const std::vector<std::string_view> parts{
      "user ", "unknown", "550 ",    "550-5.1.1 ", "@",         "over quota", "blocked ", "using ",
      "5.7.1", "4.",      "*",       "\xff\xfe",   " ",         "mailbox ",   "is ",      "full",
      "<a@b>", "spam",    "domain ", "not found",  "\0\r\n\t-", "552-",       "5.7.",     "999.999"};
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    const std::size_t size = next() % 2200;
    while (text.size() < size) {
      if (next() % 2 == 0)
        text += parts[next() % parts.size()];
      else
        text.push_back(static_cast<char>(next() & 0xff));
    }
    const std::string status = round % 3 == 0 ? text.substr(0, next() % 9) : "5.0.0";
    const RefusalClass got = classify({.status = status,
                                       .code = static_cast<int>(next() % 700),
                                       .diagnostic = text,
                                       .remote_host = text,
                                       .recipient_domain = text,
                                       .at = RefusedAt::unknown});
    if (static_cast<int>(got.bounce_class) >= k_bounce_classes) FAIL(text);
  }
}

TEST_CASE("the kind of a verdict follows from its class") {
  for (int i = 0; i < k_bounce_classes; ++i) {
    const auto one = static_cast<Class>(i);
    const bool refused = one == Class::rate_limited || one == Class::ip_blocked || one == Class::auth ||
                         one == Class::sender_rejected || one == Class::spam || one == Class::content ||
                         one == Class::too_large || one == Class::policy || one == Class::security;
    CAPTURE(to_string(one));
    CHECK(to_string(verdict_kind_of(one)) == (refused ? "refused" : "undeliverable"));
  }
}

}  // namespace
}  // namespace mailotp::core
