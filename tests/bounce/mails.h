// Mails for the tests of mail/bounce, all written here: what the daemon sends, and notices around it.
#pragma once

#include <string>
#include <string_view>

#include "mail/bounce/parser.h"

namespace mailotp::testing {

inline const mail::BounceMailbox k_mailbox{"bounce", "otp.example"};

inline core::BounceReport report_of(std::string_view bytes) {
  return mail::parse_mail(bytes, k_mailbox).report;
}

// The header section of what the daemon sends, and a body.
inline const std::string k_our_mail =
    "Return-Path: <bounce+k7q2@otp.example>\n"
    "Message-ID: <k7q2.1@otp.example>\n"
    "X-Mailotp-Message: k7q2-token\n"
    "From: Sign in <login@otp.example>\n"
    "To: reader@example.net\n"
    "Subject: Your code\n"
    "\n"
    "The code is not here.\n";

// A header section of a mailer-daemon's notice, without its empty line.
inline std::string notice_header(std::string_view subject, std::string_view more = {}) {
  return "Return-Path: <>\n"
         "Delivered-To: bounce+k7q2@otp.example\n"
         "From: MAILER-DAEMON@mx.example.net (Mail Delivery System)\n"
         "To: <bounce+k7q2@otp.example>\n"
         "Subject: " +
         std::string(subject) + "\n" + std::string(more);
}

// A notice in plain text.
inline std::string text_notice(std::string_view text, std::string_view subject = "Undelivered mail") {
  return notice_header(subject) + "\n" + std::string(text);
}

struct Report {
  std::string fields;  // of message/delivery-status
  std::string text = "The mail system has news for you.\n";
  std::string subject = "Undelivered Mail Returned to Sender";
  std::string type = "message/delivery-status";
  std::string original = k_our_mail;
  std::string original_type = "message/rfc822";
};

inline std::string dsn(const Report& report) {
  return notice_header(report.subject,
                       "MIME-Version: 1.0\n"
                       "Content-Type: multipart/report; report-type=delivery-status;\n"
                       "\tboundary=\"outer/1\"\n") +
         "\n--outer/1\nContent-Type: text/plain\n\n" + report.text +
         "\n--outer/1\nContent-Type: " + report.type + "\n\n" + report.fields +
         "\n--outer/1\nContent-Type: " + report.original_type + "\n\n" + report.original + "\n--outer/1--\n";
}

// Fields of one recipient.
inline std::string fields(std::string_view recipient, std::string_view action, std::string_view status,
                          std::string_view diagnostic) {
  return "Reporting-MTA: dns; mx.example.net\n"
         "Original-Envelope-Id: k7q2-envid\n"
         "\n"
         "Final-Recipient: rfc822; " +
         std::string(recipient) + "\nAction: " + std::string(action) + "\nStatus: " + std::string(status) +
         "\nRemote-MTA: dns; mail.example.net\nDiagnostic-Code: smtp; " + std::string(diagnostic) + "\n";
}

inline std::string with_line_ends(std::string_view text, std::string_view end) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += end;
    } else {
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace mailotp::testing
