// Which kind a mail is of, what the fields of a report say, and what leads back to our mail.
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/bounce/mails.h"

using namespace mailotp;
using namespace mailotp::testing;
using core::BounceClass;
using core::BounceKind;

namespace {

const std::string k_refused =
    fields("reader@example.net", "failed", "5.1.1", "550 5.1.1 <reader@example.net>: no such user");

core::BounceReport with_fields(std::string_view text, std::string_view subject = "Undelivered mail") {
  return report_of(dsn({.fields = std::string(text), .subject = std::string(subject)}));
}

std::string person(std::string_view more, std::string_view body) {
  return "Return-Path: <anna@example.com>\nFrom: Anna <anna@example.com>\nTo: bounce+k7q2@otp.example\n" +
         std::string(more) + "\n" + std::string(body);
}

std::string report_type(std::string_view type, std::string_view part) {
  return "From: Reader <reader@example.net>\nTo: bounce+k7q2@otp.example\nContent-Type: multipart/report; "
         "report-type=" +
         std::string(type) + "; boundary=b\n\n--b\n\nhello\n--b\n" + std::string(part) + "\n--b--\n";
}

}  // namespace

TEST_CASE("a report's fields", "[bounce][dsn]") {
  const core::BounceReport report = with_fields(k_refused);
  CHECK(report.kind == BounceKind::bounce);
  CHECK(report.rule == "dsn-fields");
  REQUIRE(report.recipients.size() == 1);
  const core::BouncedRecipient& one = report.recipients[0];
  CHECK(one.address == "reader@example.net");
  CHECK(one.permanent == true);
  CHECK(one.status == "5.1.1");
  CHECK(one.remote_host == "mail.example.net");
  CHECK(one.bounce_class == BounceClass::user_unknown);
  CHECK(one.diagnostic == "550 5.1.1 <reader@example.net>: no such user");
  CHECK(report.envids == std::vector<std::string>{"k7q2-envid"});
  CHECK(report.message_ids == std::vector<std::string>{"k7q2.1@otp.example"});
  CHECK(report.headers == std::vector<std::string>{"k7q2-token"});
}

TEST_CASE("the actions that servers write", "[bounce][dsn]") {
  struct Action {
    std::string text;
    BounceKind kind;
  };
  const std::vector<Action> actions{
      {"failed", BounceKind::bounce},
      {"Failure", BounceKind::bounce},
      {"FAILED (refused)", BounceKind::bounce},
      {"(why) failed", BounceKind::bounce},
      {"error", BounceKind::bounce},
      {"expired", BounceKind::bounce},
      {"delayed", BounceKind::delay},
      {"Delayed (see below)", BounceKind::delay},
      {"delivered", BounceKind::success},
      {"relayed", BounceKind::success},
      {"expanded", BounceKind::success},
      {"deliverable", BounceKind::success},
  };
  for (const Action& action : actions) {
    INFO(action.text);
    const core::BounceReport report =
        with_fields(fields("reader@example.net", action.text, "4.0.0", "words"));
    CHECK(report.kind == action.kind);
    REQUIRE(report.recipients.size() == 1);
    CHECK(report.recipients[0].kind == action.kind);
  }
}

TEST_CASE("a delay is never permanent, whatever its words", "[bounce][dsn]") {
  const core::BounceReport report =
      with_fields(fields("reader@example.net", "delayed", "5.1.1", "550 5.1.1 no such user"));
  CHECK(report.kind == BounceKind::delay);
  REQUIRE(report.recipients.size() == 1);
  CHECK(report.recipients[0].permanent == false);
}

TEST_CASE("fields without an action", "[bounce][dsn]") {
  const std::string bare = "Final-Recipient: rfc822; reader@example.net\nStatus: ";
  CHECK(with_fields(bare + "5.1.1\n").kind == BounceKind::bounce);
  CHECK(with_fields(bare + "2.0.0\n").kind == BounceKind::success);
  CHECK(with_fields(bare + "4.4.1\n", "Delivery delayed").kind == BounceKind::delay);
}

TEST_CASE("broken fields", "[bounce][dsn]") {
  SECTION("status with a comment, diagnostic folded and wrapped") {
    const core::BounceReport report = with_fields(
        "Final-Recipient:\n rfc822;reader@example.net\nAction: failed\nStatus: 5.0.0 (permanent failure)\n"
        "Diagnostic-Code: smtp; 550-5.1.1 no\n such\nuser here\nRemote-MTA: DNS; mail.example.net "
        "(192.0.2.1)\n");
    REQUIRE(report.recipients.size() == 1);
    CHECK(report.recipients[0].status == "5.1.1");
    CHECK(report.recipients[0].diagnostic == "550-5.1.1 no such user here");
    CHECK(report.recipients[0].remote_host == "mail.example.net");
  }
  SECTION("an address of a host alone: the attached To") {
    const core::BounceReport report =
        with_fields("Final-Recipient: RFC822; @host\nAction: failed\nStatus: 5.5.0\n");
    REQUIRE(report.recipients.size() == 1);
    CHECK(report.recipients[0].address == "reader@example.net");
  }
  SECTION("a pipe: X-Failed-Recipients") {
    std::string mail =
        dsn({.fields = "Final-Recipient: rfc822;|/usr/bin/filter\nAction: failed\nStatus: 5.0.0\n"});
    mail.insert(0, "X-Failed-Recipients: real@example.net\n");
    const core::BounceReport report = report_of(mail);
    REQUIRE(report.recipients.size() == 1);
    CHECK(report.recipients[0].address == "real@example.net");
  }
  SECTION("no empty line between header and fields") {
    std::string mail = dsn({.fields = k_refused});
    const std::string with_line = "message/delivery-status\n\nReporting";
    mail.replace(mail.find(with_line), with_line.size(), "message/delivery-status\nReporting");
    CHECK(report_of(mail).recipients.size() == 1);
  }
  SECTION("the exit status of a program") {
    const core::BounceReport report = with_fields(
        "Final-Recipient: rfc822; reader@example.net\nAction: failed\nStatus: 5.3.0\nDiagnostic-Code: "
        "X-Unix; 71\n");
    REQUIRE(report.recipients.size() == 1);
    CHECK(report.recipients[0].diagnostic == "system error");
  }
  SECTION("an empty report: the words") {
    const core::BounceReport report =
        report_of(dsn({.fields = "\n", .text = "<reader@example.net>: 550 5.1.1 gone\n"}));
    CHECK(report.kind == BounceKind::bounce);
    REQUIRE(report.recipients.size() == 1);
    CHECK(report.recipients[0].address == "reader@example.net");
  }
  SECTION("sent as text/plain") {
    const core::BounceReport report = report_of(dsn({.fields = k_refused, .type = "text/plain"}));
    CHECK(report.rule == "dsn-in-text");
    CHECK(report.recipients.size() == 1);
  }
  SECTION("the report is the whole mail") {
    CHECK(report_of("Content-Type: message/delivery-status\n\n" + k_refused).recipients.size() == 1);
  }
}

TEST_CASE("several recipients, several parts", "[bounce][dsn]") {
  const std::string second =
      "\nFinal-Recipient: rfc822; second@example.net\nAction: delivered\nStatus: 2.0.0\n";
  const core::BounceReport report = with_fields(k_refused + second);
  CHECK(report.kind == BounceKind::bounce);
  REQUIRE(report.recipients.size() == 2);
  CHECK(report.recipients[1].address == "second@example.net");
  CHECK(report.recipients[1].kind == BounceKind::success);

  std::string many = "Reporting-MTA: dns; x\n";
  for (int i = 0; i < 20; ++i) {
    many +=
        "\nFinal-Recipient: rfc822; r" + std::to_string(i) + "@example.net\nAction: failed\nStatus: 5.1.1\n";
  }
  CHECK(with_fields(many).recipients.size() == core::k_bounced_recipients);

  const core::BounceReport two_parts =
      with_fields(k_refused + "\n--outer/1\nContent-Type: message/delivery-status\n" + second);
  CHECK(two_parts.recipients.size() == 2);
}

TEST_CASE("the address that we sent to is Original-Recipient", "[bounce][dsn]") {
  const core::BounceReport report = with_fields(
      "Final-Recipient: rfc822; inner@example.org\nOriginal-Recipient: rfc822;reader@example.net\nAction: "
      "failed\n"
      "Status: 5.2.2\n");
  REQUIRE(report.recipients.size() == 1);
  CHECK(report.recipients[0].address == "reader@example.net");
}

TEST_CASE("internationalised reports", "[bounce][dsn]") {
  const core::BounceReport report =
      report_of(dsn({.fields = "Final-Recipient: utf-8; леся@example.net\nAction: failed\nStatus: 5.1.1\n",
                     .type = "message/global-delivery-status",
                     .original_type = "message/global-headers"}));
  REQUIRE(report.recipients.size() == 1);
  CHECK(report.recipients[0].address == "леся@example.net");
  CHECK(report.message_ids.size() == 1);
}

TEST_CASE("the far side's reply beats a status that contradicts it", "[bounce][dsn]") {
  const auto permanent = [](std::string_view status, std::string_view diagnostic) {
    return with_fields(fields("reader@example.net", "failed", status, diagnostic)).recipients.at(0).permanent;
  };
  CHECK(permanent("4.5.0", "550 5.5.0 service refused") == true);
  CHECK(permanent("4.4.7", "554 4.4.7 message expired") == false);
  CHECK(permanent("4.0.0", "554 blocked") == false);
  CHECK(permanent("5.5.0", "qqq") == true);
}

TEST_CASE("user unknown is hard only where RCPT was refused or the status says it", "[bounce][dsn]") {
  const auto class_of = [](std::string_view status, std::string_view diagnostic, std::string_view text) {
    return report_of(dsn({.fields = fields("reader@example.net", "failed", status, diagnostic),
                          .text = std::string(text)}))
        .recipients.at(0)
        .bounce_class;
  };
  CHECK(class_of("5.0.0", "550 User unknown", "words\n") == BounceClass::recipient_filtered);
  CHECK(class_of("5.0.0", "550 User unknown", "(in reply to RCPT TO command)\n") ==
        BounceClass::user_unknown);
  CHECK(class_of("5.0.0", "550 User unknown", ">>> RCPT To:<reader@example.net>\n<<< 550 User unknown\n") ==
        BounceClass::user_unknown);
  CHECK(class_of("5.0.0", "550 User unknown", ">>> DATA\n<<< 550 User unknown\n") ==
        BounceClass::recipient_filtered);
  CHECK(class_of("5.1.1", "550 5.1.1 User unknown", "words\n") == BounceClass::user_unknown);
}

TEST_CASE("the command that was refused stands in the text", "[bounce][dsn]") {
  const auto class_of = [](std::string_view status, std::string_view diagnostic, std::string_view text) {
    return report_of(dsn({.fields = fields("reader@example.net", "failed", status, diagnostic),
                          .text = std::string(text)}))
        .recipients.at(0)
        .bounce_class;
  };
  CHECK(class_of("5.0.0", "550 No such user", ">>> DATA\n<<< 550 No such user\n") ==
        BounceClass::recipient_filtered);
  CHECK(class_of("5.1.6", "551 not our customer", ">>> DATA\n<<< 551 not our customer\n") ==
        BounceClass::user_unknown);
  CHECK(class_of("5.7.1", "550 5.7.1 Go", ">>> MAIL From:<a@otp.example>\n<<< 550 5.7.1 Go\n") ==
        BounceClass::sender_rejected);
  CHECK(class_of("5.0.0", "554 Go", ">>> EHLO otp.example\n<<< 554 Go\n") == BounceClass::ip_blocked);
  CHECK(class_of("5.0.0", "550 Go", ">>> RCPT To:<reader@example.net>\n<<< 550 Go\n") ==
        BounceClass::unknown);
}

TEST_CASE("a local program's exit status is a failure of the system", "[bounce][dsn]") {
  const auto class_of = [](std::string_view type_and_status) {
    std::string all = fields("reader@example.net", "failed", "5.0.0", "@");
    all.replace(all.find("smtp; @"), 7, type_and_status);
    return report_of(dsn({.fields = all})).recipients.at(0).bounce_class;
  };
  CHECK(class_of("X-Unix; 255") == BounceClass::system);
  CHECK(class_of("X-Unix; 1") == BounceClass::system);
}

TEST_CASE("a delay that says no reason is one of time", "[bounce][dsn]") {
  const core::BouncedRecipient one =
      report_of(dsn({.fields = fields("reader@example.net", "delayed", "4.0.0", "450 come again")}))
          .recipients.at(0);
  CHECK(one.bounce_class == BounceClass::expired);
  CHECK(one.permanent == false);
}

TEST_CASE("a well-formed report beats the headers of automatic replies", "[bounce][kind]") {
  std::string mail = dsn({.fields = k_refused, .subject = "Automatic reply: gone"});
  mail.insert(0, "Precedence: auto_reply\nX-Autoreply: yes\nAuto-Submitted: auto-replied\n");
  CHECK(report_of(mail).kind == BounceKind::bounce);
}

TEST_CASE("automatic replies", "[bounce][kind]") {
  for (const std::string_view subject :
       {"Out of Office: Your code", "Automatic reply: x", "Abwesenheitsnotiz", "Réponse automatique : x",
        "=?utf-8?Q?R=C3=A9ponse_automatique?=", "Respuesta automática", "Автоответ", "AUTO: away",
        "自動応答"}) {
    INFO(subject);
    const std::string words = "<reader@example.net>: 550 5.1.1 User unknown. I left the company.\n";
    CHECK(report_of(person("Subject: " + std::string(subject) + "\n", words)).kind == BounceKind::auto_reply);
    CHECK(report_of("Return-Path: <>\n" + person("Subject: " + std::string(subject) + "\n", words)).kind ==
          BounceKind::auto_reply);
  }
  for (const std::string_view header : {"Auto-Submitted: auto-replied\n", "Precedence: auto_reply\n",
                                        "X-Autoreply: yes\n", "X-Autorespond: x\n"}) {
    INFO(header);
    const std::string mail = "Return-Path: <>\nFrom: Anna <anna@example.com>\nSubject: hello\n" +
                             std::string(header) +
                             "\nI am away; <anna@example.com>: mailbox unavailable 550 5.1.1\n";
    CHECK(report_of(mail).kind == BounceKind::auto_reply);
  }
}

TEST_CASE("receipts, complaints, TLS reports", "[bounce][kind]") {
  CHECK(report_of(report_type("disposition-notification",
                              "Content-Type: message/disposition-notification\n\nDisposition: manual-action/"
                              "MDN-sent-manually; displayed"))
            .kind == BounceKind::auto_reply);
  const core::BounceReport complaint = report_of(
      report_type("feedback-report", "Content-Type: message/feedback-report\n\nFeedback-Type: abuse"));
  CHECK(complaint.kind == BounceKind::feedback);
  CHECK(complaint.recipients.empty());
  CHECK(report_of(report_type("tlsrpt", "Content-Type: application/tlsrpt+json\n\n{}")).kind ==
        BounceKind::none);
  const core::BounceReport refusal = report_of(
      "From: Postmaster <postmaster@example.net>\nContent-Type: multipart/report; "
      "report-type=disposition-notification; boundary=b\n\n--b\n\nYour message was automatically "
      "rejected:\nQuota "
      "exceeded\n--b\nContent-Type: message/disposition-notification\n\nFinal-Recipient: rfc822; "
      "reader@example.net\nDisposition: automatic-action/MDN-sent-automatically; deleted\n--b--\n");
  CHECK(refusal.kind == BounceKind::bounce);
  CHECK(refusal.rule == "receipt-of-refusal");
}

TEST_CASE("challenges are never hard", "[bounce][kind]") {
  const std::string asked = "From: noreply@boxbe.com\nSubject: Re: Your code (Action Required)\n";
  const std::string parts =
      "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nYour "
      "message has been waitlisted.\n--b\nContent-Type: message/delivery-status\n\n" +
      k_refused + "\n--b--\n";
  const core::BounceReport held = report_of(asked + parts);
  REQUIRE(held.recipients.size() == 1);
  CHECK(held.recipients[0].bounce_class == BounceClass::policy);
  CHECK(report_of(asked + "\nPlease click to prove that you are a person.\n").kind == BounceKind::auto_reply);
}

TEST_CASE("a mail that only contains a bounce is none", "[bounce][kind]") {
  const std::string bounce = dsn({.fields = k_refused});
  CHECK(report_of(person("Subject: Fwd: Undelivered mail\nContent-Type: multipart/mixed; boundary=f\n",
                         "--f\n\nlook\n--f\nContent-Type: message/rfc822\n\n" + bounce + "\n--f--\n"))
            .kind == BounceKind::none);
  CHECK(report_of(person("Subject: digest\nContent-Type: multipart/digest; boundary=f\n",
                         "--f\n\n" + bounce + "\n--f\n\n" + bounce + "\n--f--\n"))
            .kind == BounceKind::none);
  CHECK(report_of(person("Subject: Fwd: Undelivered mail\n",
                         "---------- Forwarded message ---------\nFrom: MAILER-DAEMON@mx.example.net\n\n"
                         "I'm sorry to have to inform you\n\n<reader@example.net>: 550 5.1.1 gone\n"))
            .kind == BounceKind::none);
  CHECK(report_of(person("Subject: Re: Undelivered mail\nIn-Reply-To: <x@y.example>\nList-Id: <l.example>\n",
                         "> <reader@example.net>: 550 5.1.1 gone\n"))
            .kind == BounceKind::none);
  CHECK(report_of(person("Subject: Undelivered mail\nList-Id: <l.example>\n",
                         "I'm sorry to have to inform you\n\n<reader@example.net>: 550 5.1.1 gone\n"))
            .kind == BounceKind::none);
}

TEST_CASE("a bounce of a bounce is none", "[bounce][kind]") {
  std::string inner = dsn({.fields = fields("old@example.org", "failed", "5.1.1", "x")});
  for (std::size_t at = inner.find("outer/1"); at != std::string::npos; at = inner.find("outer/1")) {
    inner.replace(at, 7, "inner");
  }
  const core::BounceReport part = report_of(dsn({.fields = k_refused, .original = inner}));
  CHECK(part.kind == BounceKind::none);
  CHECK(part.rule == "notice-of-a-notice");
  CHECK(part.recipients.empty());
  const core::BounceReport quoted = report_of(text_notice(
      "Hi. This is the qmail-send program at mx.example.net.\n\n<bounce+k7q2@otp.example>:\nno such "
      "user\n\n--- Below "
      "this line is a copy of the message.\n\nReturn-Path: <>\nFrom: MAILER-DAEMON@other.example\nTo: "
      "bounce+k7q2@otp.example\nSubject: failure notice\n\nx\n"));
  CHECK(quoted.kind == BounceKind::none);
  const core::BounceReport without =
      report_of(dsn({.fields = fields("bounce+k7q2@otp.example", "failed", "5.1.1", "550 5.1.1 unknown")}));
  CHECK(without.kind == BounceKind::none);
  CHECK(without.recipients.empty());
}

TEST_CASE("the returned original's own bounce does not count", "[bounce][kind]") {
  const core::BounceReport report = report_of(text_notice(
      "Delivery to the following recipient failed permanently:\n\n     reader@example.net\n\n----- "
      "Original message -----\n\nFrom: MAILER-DAEMON@old.example\n\n<other@example.org>:\n550 5.1.1 x\n"));
  REQUIRE(report.recipients.size() == 1);
  CHECK(report.recipients[0].address == "reader@example.net");
}

TEST_CASE("words of a delay count only near the top", "[bounce][kind]") {
  std::string text = "<reader@example.net>: 550 5.1.1 gone\n";
  for (int i = 0; i < 60; ++i)
    text += "filler\n";
  CHECK(report_of(text_notice(text + "This is a warning message only\n")).kind == BounceKind::bounce);
  CHECK(report_of(text_notice("This is a warning message only\n" + text)).kind == BounceKind::delay);
  CHECK(report_of(text_notice(text, "Warning: could not send message for past 4 hours")).kind ==
        BounceKind::delay);
}

TEST_CASE("warnings and bait from somebody who is no mailer-daemon", "[bounce][kind]") {
  CHECK(report_of(
            "From: \"Mail Delivery System\" <it@phish.example>\nSubject: Undelivered mail\n\n7 messages for "
            "reader@example.net could not be delivered\n")
            .kind == BounceKind::none);
  CHECK(report_of("From: postmaster@example.net\nSubject: Your mailbox is almost full\n\nreader@example.net "
                  "552 5.2.2\n")
            .kind == BounceKind::none);
}

TEST_CASE("an automatic reply with the null return path and a format's words", "[bounce][kind]") {
  const std::string reply =
      "Return-Path: <>\nFrom: Anna <anna@example.com>\nSubject: Re: Your code\nAuto-Submitted: "
      "auto-replied\n\nYour "
      "message to anna@example.com was received. I am away.\n\n<boss@example.com>:\n550 5.1.1 ask him\n";
  CHECK(report_of(reply).kind == BounceKind::auto_reply);
}

TEST_CASE("what postmasters send on their own", "[bounce][kind]") {
  for (const std::string_view subject :
       {"Report domain: otp.example Submitter: example.net", "Quarantine summary"}) {
    CHECK(report_of(text_notice("<reader@example.net>: 550 5.1.1 unknown\n", subject)).kind ==
          BounceKind::none);
  }
}

TEST_CASE("encoded and decorated bodies", "[bounce][kind]") {
  const core::BounceReport base64 =
      report_of(notice_header("Undelivered mail", "Content-Transfer-Encoding: base64\n") +
                "\nPHJlYWRlckBleGFtcGxlLm5ldD46IDU1MCA1LjEuMSBubyBzdWNoIHVzZXIK\n");
  REQUIRE(base64.recipients.size() == 1);
  CHECK(base64.recipients[0].status == "5.1.1");
  const core::BounceReport html = report_of(
      notice_header("Undeliverable: Your code", "Content-Type: text/html\n") +
      "\n<html><body><p>Delivery has failed to these recipients or groups:</p><p><a href=\"mailto:x\">"
      "reader&#64;example.net</a><br>not found</p><p>#550 5.1.1</p></body></html>\n");
  REQUIRE(html.recipients.size() == 1);
  CHECK(html.recipients[0].address == "reader@example.net");
}

TEST_CASE("a plain text that says nothing beside HTML that does", "[bounce][kind]") {
  const core::BounceReport report = report_of(
      notice_header("Undeliverable: Your code", "Content-Type: multipart/alternative; boundary=a\n") +
      "\n--a\n\nThis message needs HTML.\n--a\nContent-Type: text/html\n\n<p>Delivery has failed to these "
      "recipients or "
      "groups:</p><p>reader@example.net</p><p>#550 5.1.1</p>\n--a--\n");
  CHECK(report.rule == "exchange-text");
  REQUIRE(report.recipients.size() == 1);
  CHECK(report.recipients[0].address == "reader@example.net");
}

TEST_CASE("notifications of Amazon SES", "[bounce][kind]") {
  const auto notification = [](std::string_view type) {
    return report_of(
        "From: AWS <no-reply@sns.amazonaws.com>\nSubject: AWS Notification Message\n\n{\"Type\":"
        "\"Notification\",\"Message\":\"{\\\"notificationType\\\":\\\"" +
        std::string(type) +
        "\\\",\\\"bounce\\\":{\\\"bounceType\\\":\\\"Permanent\\\",\\\"bouncedRecipients\\\":[{"
        "\\\"action\\\":\\\"failed\\\",\\\"emailAddress\\\":\\\"reader@example.net\\\",\\\"status\\\":"
        "\\\"5.1.1\\\",\\\"diagnosticCode\\\":\\\"smtp; 550 5.1.1 user unknown\\\"}]}}\"}\n");
  };
  const core::BounceReport bounce = notification("Bounce");
  CHECK(bounce.kind == BounceKind::bounce);
  REQUIRE(bounce.recipients.size() == 1);
  CHECK(bounce.recipients[0].permanent == true);
  CHECK(bounce.recipients[0].diagnostic == "550 5.1.1 user unknown");
  CHECK(notification("Complaint").kind == BounceKind::feedback);
  CHECK(notification("Delivery").kind == BounceKind::success);
  CHECK(notification("Delivery").recipients.empty());
}

TEST_CASE("what leads back to our mail", "[bounce][tokens]") {
  SECTION("a part with the header section only") {
    const core::BounceReport report =
        report_of(dsn({.fields = k_refused, .original_type = "text/rfc822-headers"}));
    CHECK(report.message_ids == std::vector<std::string>{"k7q2.1@otp.example"});
    CHECK(report.headers == std::vector<std::string>{"k7q2-token"});
  }
  SECTION("quoted in the text, and quoted with marks") {
    for (const std::string_view mark : {"", "> ", "    "}) {
      std::string quoted(mark);
      for (const char c : k_our_mail) {
        quoted.push_back(c);
        if (c == '\n') quoted += mark;
      }
      INFO(quoted);
      const core::BounceReport report = report_of(text_notice(
          "<reader@example.net>:\ngone\n\n--- Below this line is a copy of the message.\n\n" + quoted));
      CHECK(report.message_ids == std::vector<std::string>{"k7q2.1@otp.example"});
      CHECK(report.headers == std::vector<std::string>{"k7q2-token"});
    }
  }
  SECTION("In-Reply-To and References of the notice, each once, at most four") {
    std::string mail = dsn({.fields = k_refused});
    mail.insert(0,
                "In-Reply-To: <k7q2.1@otp.example>\nReferences: <a@x.example> <b@x.example>\n <c@x.example> "
                "<d@x.example>\n");
    CHECK(report_of(mail).message_ids ==
          std::vector<std::string>{"k7q2.1@otp.example", "a@x.example", "b@x.example", "c@x.example"});
  }
  SECTION("a token that is too long is left out") {
    const std::string text = "Message-ID: <" + std::string(300, 'x') +
                             "@y.example>\nX-Mailotp-Message: " + std::string(300, 'y') + "\n\n";
    const core::BounceReport report = report_of(dsn({.fields = k_refused, .original = text}));
    CHECK(report.message_ids.empty());
    CHECK(report.headers.empty());
  }
}

TEST_CASE("the mailbox that a mail was delivered to", "[bounce][addressed]") {
  const auto addressed = [](std::string_view header) {
    return mail::parse_mail(std::string(header) + "\nx\n", k_mailbox).addressed_to;
  };
  using Fields = std::vector<mail::AddressedTo>;
  CHECK(addressed(
            "Delivered-To: bounce+AbC@otp.example\nTo: Somebody <BOUNCE+def@OTP.Example>, x@y.example\n") ==
        Fields{{"AbC", "delivered-to"}, {"def", "to"}});
  CHECK(addressed("X-Original-To: bounce@otp.example\nEnvelope-To: bounce@otp.example\n") ==
        Fields{{"", "x-original-to"}});
  CHECK(addressed("Cc: <bounce+a+b=c@otp.example>\n") == Fields{{"a+b=c", "cc"}});
  CHECK(addressed("To: bouncer@otp.example, bounce-x@otp.example, bounce@otp.example.org\n").empty());
  CHECK(addressed("From: bounce+x@otp.example\nReply-To: bounce+x@otp.example\n").empty());
  std::string many = "To: ";
  for (int i = 0; i < 30; ++i)
    many += "bounce+" + std::to_string(i) + "@otp.example,\n ";
  CHECK(addressed(many + "\n").size() == mail::k_addressed_to);
}

TEST_CASE("no mail of 10 MB takes more than its bound", "[bounce][bounds]") {
  const std::vector<std::string> pieces{
      "<",  "@", "a@b.example\n",  "=?a?Q?", "--b\n", "x: y\n", " \n", "<a@", "\"",
      "\r", ">", "(expanded from "};
  for (const std::string& piece : pieces) {
    INFO(piece);
    std::string body;
    while (body.size() < 10'000'000)
      body += piece;
    const mail::ParsedMail parsed = mail::parse_mail(
        notice_header("Undelivered", "Content-Type: multipart/mixed; boundary=b\n") + "\n" + body, k_mailbox);
    CHECK(parsed.cut);
    CHECK(parsed.work <= 10U * 256U * 1024U);
    CHECK(mail::parse_mail(body, k_mailbox).cut);
  }
}
