// One notice of each family of text formats, and what must come out of it.
#include "mail/bounce/formats.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/bounce/mails.h"

using namespace mailotp;
using namespace mailotp::testing;
using core::BounceKind;

namespace {

struct Sample {
  std::string rule;
  std::string text;
  std::vector<std::string> addresses = {"reader@example.net"};
  BounceKind kind = BounceKind::bounce;
  std::string status = {};
  std::optional<bool> permanent = std::nullopt;  // nullopt: not looked at
  std::string says = {};                         // stands in the diagnostic
};

const std::string k_quoted = "\n" + k_our_mail;

const std::vector<Sample> k_samples{
    {"postfix-text",
     "This is the Postfix program at host mx.example.net.\n\nI'm sorry to have to inform you that the "
     "message "
     "returned\nbelow could not be delivered.\n\n<reader@example.net>: host mail.example.net[192.0.2.1] "
     "said: 550 "
     "5.1.1\n    unknown user (in reply to RCPT TO command)\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "5.1.1",
     true,
     "unknown user"},
    {"postfix-delay-text",
     "This is the mail system at host mx.example.net.\n\nYour message could not be delivered for more than 4 "
     "hour(s).\nIt will be retried until it is 5 day(s) old.\n\n<reader@example.net>: connect to "
     "mail.example.net: "
     "550 5.1.1 Connection refused\n",
     {"reader@example.net"},
     BounceKind::delay,
     "5.1.1",
     false},
    {"postfix-text",
     "I'm sorry to have to inform you that your message could not\nbe delivered.\n\n<inner@example.org> "
     "(expanded "
     "from <reader@example.net>): mailbox full\n"},
    {"sendmail-text",
     "   ----- The following addresses had permanent fatal errors -----\n<reader@example.net>\n    (reason: "
     "552 "
     "5.2.2 over quota)\n\n   ----- Transcript of session follows -----\n... while talking to "
     "mail.example.net.:\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "5.2.2",
     true,
     "over quota"},
    {"sendmail-text",
     "   ----- The following addresses had permanent fatal errors -----\n<inner@example.org>\n    (expanded "
     "from: "
     "<reader@example.net>)\n\n   ----- Transcript of session follows -----\n554 5.4.6 Too many hops\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "5.4.6",
     true},
    {"sendmail-delay-text",
     "   ----- The following addresses had transient non-fatal errors -----\n<reader@example.net>\n\n   "
     "----- "
     "Transcript of session follows -----\n<reader@example.net>... Deferred: Connection timed out\n",
     {"reader@example.net"},
     BounceKind::delay,
     "",
     false},
    {"sendmail-transcript",
     "   ----- Transcript of session follows -----\nWhile talking to mail.example.net:\n>>> RCPT "
     "To:<reader@example.net>\n<<< 550 no such user\n550 <reader@example.net>... User unknown\n\n   ----- "
     "Unsent "
     "message follows -----\n" +
         k_our_mail,
     {"reader@example.net"},
     BounceKind::bounce,
     "",
     true},
    {"exim-text",
     "This message was created automatically by mail delivery software.\n\nA message that you sent could not "
     "be "
     "delivered to one or more of its\nrecipients. This is a permanent error. The following address(es) "
     "failed:\n\n  "
     "reader@example.net\n    SMTP error from remote mail server after RCPT TO:<reader@example.net>:\n    "
     "host "
     "mail.example.net [192.0.2.1]: 550 5.1.1 unknown\n  second@example.net\n    retry timeout "
     "exceeded\n\n------ "
     "This is a copy of the message, including all the headers. ------\n" +
         k_quoted,
     {"reader@example.net", "second@example.net"},
     BounceKind::bounce,
     "5.1.1",
     true},
    {"exim-delay-text",
     "This message was created automatically by mail delivery software.\nA message that you sent has not yet "
     "been "
     "delivered to one or more of its\nrecipients after more than 24 hours on the queue.\n\nThe address to "
     "which the "
     "message has not yet been delivered is:\n\n  reader@example.net\n\nNo action is required on your "
     "part.\n",
     {"reader@example.net"},
     BounceKind::delay},
    {"exim-text",
     "This message was created automatically by mail delivery software.\nThe following address\nfailed:\n\n"
     "\"reader@example.net\":\nSMTP error from remote server after RCPT command:\nhost: "
     "mail.example.net\n5.2.1 "
     "disabled\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "5.2.1",
     true},
    {"qmail-text",
     "Hi. This is the qmail-send program at mx.example.net.\nI'm afraid I wasn't able to deliver your "
     "message to the "
     "following addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out.\n\n"
     "<reader@example.net>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n<second@example.net>:\nThis "
     "message "
     "has been in the queue too long. (#4.4.7)\n\n--- Below this line is a copy of the message.\n" +
         k_quoted,
     {"reader@example.net", "second@example.net"},
     BounceKind::bounce,
     "5.1.1",
     true,
     "no mailbox here"},
    {"yahoo-text",
     "Message from example.net.\nUnable to deliver message to the following "
     "address(es).\n\n<reader@example.net>:\n"
     "This user doesn't have an example.net account\n\n--- Original message follows.\n" +
         k_quoted},
    {"yahoo-text",
     "Sorry, we were unable to deliver your message to the following "
     "address.\n\n<reader@example.net>:\nRemote host "
     "said:\n550 5.1.1 <reader@example.net> unknown\n[RCPT_TO]\n\n--- Below this line is a copy of the "
     "message.\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "5.1.1",
     true},
    {"gmail-text",
     "Delivery to the following recipient failed permanently:\n\n     reader@example.net\n\nTechnical "
     "details of "
     "permanent failure: \nThe error that the other server returned was: 550 550 5.1.1 gone\n\n----- "
     "Original message "
     "-----\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "5.1.1",
     true},
    {"gmail-delay-text",
     "THIS IS A WARNING MESSAGE ONLY.\n\nDelivery to the following recipient has been delayed:\n\n     "
     "reader@example.net\n\nMessage will be retried for 2 more day(s)\n",
     {"reader@example.net"},
     BounceKind::delay},
    {"gmail-notice",
     "** Address not found **\n\nYour message wasn't delivered to reader@example.net because the address "
     "couldn't be "
     "found.\n\nThe response from the remote server was:\n550 5.1.1 gone\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "5.1.1",
     true},
    {"gmail-notice-delay",
     "** Delivery incomplete **\n\nThere was a temporary problem delivering your message to "
     "reader@example.net. Gmail "
     "will retry for 45 more hours.\n",
     {"reader@example.net"},
     BounceKind::delay},
    {"exchange-text",
     "Your message\n\n  To:      reader\n  Subject: Your code\n\ndid not reach the following "
     "recipient(s):\n\n"
     "c=US;a= ;p=X;dda:SMTP=reader@example.net; on Fri, 4 Oct 2002\n    The recipient name is not "
     "recognized\n    "
     "MSEXCH:IMS:X:Y:Z 0 (000C05A6) Unknown Recipient\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "",
     std::nullopt,
     "000C05A6"},
    {"exchange-text",
     "Delivery has failed to these recipients or groups:\n\nreader@example.net\nThe e-mail address you "
     "entered "
     "couldn't be found.\n\nDiagnostic information for administrators:\n#550 5.1.1 "
     "RESOLVER.ADR.RecipNotFound\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "5.1.1",
     true},
    {"exchange-delay-text",
     "Delivery is delayed to these recipients or groups:\n\nreader@example.net\n\nThis message hasn't been "
     "delivered "
     "yet. Delivery will continue to be attempted.\n",
     {"reader@example.net"},
     BounceKind::delay},
    {"iis-text",
     "   This is an automatically generated Delivery Status Notification.\n\nDelivery to the following "
     "recipients "
     "failed.\n\n       reader@example.net\n"},
    {"groupwise-text",
     "The message that you sent was undeliverable to the following:\n\treader@example.net (user not "
     "found)\n"},
    {"domino-text",
     "Your message\n\n  Subject: Your code\n\nwas not delivered to:\n\n  reader@example.net\n\nbecause:\n\n  "
     "User "
     "reader (reader@example.net) not listed in Domino Directory\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "",
     std::nullopt,
     "not listed"},
    {"notes-text",
     "------- Failure Reasons  --------\n\nUser not listed in public Name & Address "
     "Book\nreader@example.net\n\n"
     "------- Returned Message --------\n" +
         k_quoted,
     {"reader@example.net"},
     BounceKind::bounce,
     "",
     std::nullopt,
     "not listed"},
    {"mimecast-text",
     "This is a delivery failure notification message indicating that\nan email you addressed to email "
     "address :\n-- "
     "reader@example.net\n\ncould not be delivered. The problem appears to be :\n-- Recipient email address "
     "is "
     "possibly incorrect\n\nAdditional information follows :\n-- 5.4.1 Recipient address rejected: Access "
     "denied.\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "5.4.1",
     true},
    {"opensmtpd-text",
     "    Hi!\n\n    This is the MAILER-DAEMON, please DO NOT REPLY to this e-mail.\n\n    An error has "
     "occurred while "
     "attempting to deliver a message for\n    the following list of recipients:\n\nreader@example.net: 550 "
     "5.1.1 "
     "gone\n\n    Below is a copy of the original message:\n" +
         k_quoted,
     {"reader@example.net"},
     BounceKind::bounce,
     "5.1.1",
     true},
    {"opensmtpd-delay-text",
     "    A message is delayed for more than 10 minutes for the following\n    list of recipients:\n\n"
     "reader@example.net: Network error on destination MXs\n\n    Please note that this is only a temporary "
     "failure "
     "report.\n",
     {"reader@example.net"},
     BounceKind::delay},
    {"james-text",
     "Error: Invalid user address\n\nError message below:\n550 - Requested action not taken: no such user "
     "here\n\n"
     "Message details:\n  Subject: Your code\n  MAIL FROM: login@otp.example\n  RCPT TO: "
     "reader@example.net\n  From: "
     "login@otp.example\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "",
     true},
    {"courier-text",
     "                           UNDELIVERABLE MAIL\n\nYour message to the following recipients cannot be "
     "delivered:\n\n<reader@example.net>:\n    mail.example.net [192.0.2.1]:\n>>> RCPT "
     "TO:<reader@example.net>\n<<< "
     "550 5.1.1 unknown\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "5.1.1",
     true},
    {"interscan-text",
     "****** Message from InterScan Messaging Security Suite ******\n\nThe following mail could not be "
     "delivered.\n\n"
     "Reason:  Unable to deliver message to <reader@example.net>.\n"},
    {"interscan-text",
     "Message from InterScan E-Mail VirusWall NT\n\nRCPT TO: <reader@example.net>\n550 unknown\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "",
     true},
    {"zoho-text",
     "[Status: Error, Address: <reader@example.net>, ResponseCode 421, , Host not reachable.]\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "",
     false},
    {"exim-text",
     "This message was created automatically by mail delivery software.\n A message that you sent could not "
     "be "
     "delivered to one or more of its recipients. This is a permanent error. \n\nreader@example.net Invalid "
     "Address, "
     "ERROR_CODE :550, ERROR_CODE :5.1.1 unknown\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "5.1.1",
     true},
    {"mailru-text",
     "Это письмо создано автоматически.\n\nК сожалению, Ваше письмо не может быть доставлено:\n\n  "
     "reader@example.net\n    550 spam\n"},
    {"kddi-text",
     "Your mail sent on: Thu, 29 Apr 2013 00:00:00 +0900\n     Could not be delivered to: "
     "<reader@example.net>\n     "
     "As their mailbox is full.\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "",
     std::nullopt,
     "mailbox is full"},
    {"ezweb-text",
     "Each of the following recipients was rejected by a remote\nmail server.\n\n   Recipient: "
     "<reader@example.net>\n"
     "   >>> RCPT TO:<reader@example.net>\n   <<< 550 <reader@example.net>: User unknown\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "",
     true},
    {"daemon-list", "<reader@example.net>\n\nsome words of another tongue\n"},
    {"verizon-text",
     "Message could not be delivered to mobile.\nError: No valid recipients for this MM\n\nOriginal "
     "Message:\nFrom: "
     "login@otp.example\nTo: reader@example.net\n"},
    {"trouble-text",
     "We had trouble delivering your message. Full details follow:\n\nSubject: 'Your code'\n\n1 "
     "error(s):\n\nSMTP "
     "Server <mail.example.net> rejected recipient <reader@example.net>\n  (Error following RCPT command). "
     "It "
     "responded as follows: [550 5.1.1 unknown]\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "5.1.1",
     true},
    {"smtp32-text", "Unknown user: reader@example.net\n\nOriginal message follows.\n" + k_quoted},
    {"smtp32-text",
     "undeliverable to reader@example.net\nRCPT TO generated following response:\n553 5.3.0 unknown\n"},
    {"surfcontrol-text",
     "Your message could not be sent.\nThe number of attempts made: 1\nAddressed To: "
     "reader@example.net\n\nFailed to "
     "send to identified host,\nreader@example.net: [192.0.2.5], 550 No such user\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "",
     true},
    {"barracuda-text",
     "Your message to: reader@example.net\nwas blocked by our Spam Firewall. The email was not sent.\n"},
    {"workmail-text",
     "An error occurred while trying to deliver the mail to the following recipients:\nreader@example.net\n"},
    {"mailmarshal-text",
     "Your message:\n   From:    login@otp.example\n   Subject: Your code\n\nCould not be delivered because "
     "of\n\n550 "
     "5.1.1 User unknown\n\nThe following recipients were affected: \n    reader@example.net\n\nAdditional "
     "Information\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "5.1.1",
     true},
    {"messaging-server-text",
     "This report relates to a message you sent with the following header fields:\n\n  To: reader\n\nYour "
     "message "
     "cannot be delivered to the following recipients:\n\n  Recipient address: reader@example.net\n  Reason: "
     "Remote "
     "SMTP server has rejected address\n  Diagnostic code: smtp;550 5.1.1 unknown\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "5.1.1",
     true},
    {"lsmtp-text", "--> Error description:\n\nError-for:  reader@example.net\n550 unknown\nError-End: 1\n"},
    {"dragonfly-text",
     "This is the DragonFly Mail Agent v0.13 at mx.example.net.\n\nThere was an error delivering your mail "
     "to "
     "<reader@example.net>.\n\nmail.example.net [192.0.2.1] did not like our RCPT TO:\n552 5.2.2 "
     "full\n\nMessage "
     "headers follow.\n" +
         k_quoted,
     {"reader@example.net"},
     BounceKind::bounce,
     "5.2.2",
     true},
    {"netscape-text",
     "This Message was undeliverable due to the following reason:\n\n<reader@example.net> has restricted "
     "mail\n\n"
     "Please reply to Postmaster@example.net\n"},
    {"aol-text",
     "Your mail to the following recipients could not be delivered because they are not accepting "
     "mail:\n\n\treader\n",
     {"reader@mx.example.net"}},
    {"communigate-text", "Failed to deliver to '<reader@example.net>'\nno account\n"},
    {"non-delivery-text",
     "--- Non-Delivery Report ---\nThe email below could not be delivered to the following "
     "user:\n\n\"Reader\" "
     "<reader@example.net>\n\nOld message:\n"},
    {"mdaemon-text",
     "The following addresses did NOT receive a copy of your message:\n\n> reader@example.net\n\n--- Session "
     "Transcript ---\n550 unknown\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "",
     true},
    {"listed-text",
     "|--- Failed addresses follow: ---|\n <reader@example.net>\n   552 5.2.2 quota\n|--- Message text "
     "follows: ---|\n"},
    {"sentence-text",
     "The following message, addressed to 'reader@example.net',\nfailed because it has not been collected\n"},
    {"sentence-text", "Intended recipient: reader@example.net\n"},
    {"failed-recipient-text",
     "Could not deliver message to the following recipient(s):\n\nFailed Recipient: "
     "reader@example.net\nReason: Remote "
     "host said: 550 unknown\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "",
     true},
    {"quoted-to-text",
     "I'm afraid I wasn't able to deliver the following message.\n\nSubject: Your code\nTo: "
     "reader@example.net\n"},
    {"daemon-text", "We could not find anybody here who is called reader@example.net, sorry.\n"},
    {"dsn-in-text",
     "The ISP says:\n\nReporting-MTA: dns; mx.example.net\n\nFinal-Recipient: RFC822; "
     "reader@example.net\nAction: "
     "failed\nStatus: 5.1.1\nDiagnostic-Code: SMTP; 550 gone\n",
     {"reader@example.net"},
     BounceKind::bounce,
     "5.1.1",
     true},
    {"returned-to", "Nobody knows why.\n\n----- Unsent message follows -----\n" + k_our_mail},
    {"daemon-no-address", "Nobody knows why.\n", {}},
};

}  // namespace

TEST_CASE("a notice of each family of text formats", "[bounce][formats]") {
  for (const Sample& sample : k_samples) {
    INFO(sample.text);
    for (const std::string_view end : {"\n", "\r\n"}) {
      const core::BounceReport report = report_of(with_line_ends(text_notice(sample.text), end));
      CHECK(report.rule == sample.rule);
      CHECK(report.kind == sample.kind);
      std::vector<std::string> addresses;
      for (const core::BouncedRecipient& one : report.recipients) {
        addresses.push_back(one.address);
        CHECK(one.kind == sample.kind);
      }
      CHECK(addresses == sample.addresses);
      if (report.recipients.empty()) continue;
      const core::BouncedRecipient& first = report.recipients.front();
      if (!sample.status.empty()) CHECK(first.status == sample.status);
      if (sample.permanent) CHECK(first.permanent == sample.permanent);
      if (!sample.says.empty()) CHECK(first.diagnostic.find(sample.says) != std::string::npos);
    }
  }
}

TEST_CASE("a person's mail with the words of a format is none", "[bounce][formats]") {
  for (const Sample& sample : k_samples) {
    const std::string mail =
        "From: Anna <anna@example.com>\nTo: bounce+k7q2@otp.example\nSubject: look at this\n\n" + sample.text;
    INFO(sample.text);
    const core::BounceReport report = report_of(mail);
    if (report.rule != "non-delivery-text") CHECK(report.kind == BounceKind::none);
  }
}

TEST_CASE("a mailing list that refuses says so in its own words", "[bounce][formats]") {
  const core::BounceReport report = report_of(
      "From: talk-admin@example.net\nSubject: You are not member\n\nYou are not a member of this mailing "
      "list "
      "<talk@example.net>.\n");
  CHECK(report.rule == "fml-text");
  REQUIRE(report.recipients.size() == 1);
  CHECK(report.recipients[0].address == "talk@example.net");
}

TEST_CASE("every format has a rule's name and markers in lower case", "[bounce][formats]") {
  for (const mail::Marker& marker : mail::all_markers()) {
    INFO(marker.words);
    CHECK(marker.words.size() >= 4);
    CHECK(mail::find_marker(marker.words) != nullptr);
    for (const char c : marker.words)
      CHECK_FALSE((c >= 'A' && c <= 'Z'));
    CHECK(mail::decoration_length(marker.words) == 0);
    if (marker.use != mail::MarkerUse::begin) continue;
    REQUIRE(marker.format != nullptr);
    CHECK_FALSE(marker.format->rule.empty());
    CHECK(marker.format->rule.size() <= core::k_bounce_rule);
    CHECK((marker.format->shape == mail::Shape::keyword) != marker.format->keyword.empty());
  }
}
