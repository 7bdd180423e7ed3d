// The header of the outermost mail: the fields that tell what the mail is, and what follows from them alone.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mail/bounce/scan.h"

namespace mailotp::mail {

// Values as written, with folds; empty where the field is missing. Of several the first counts.
struct TopHeader {
  std::string_view from;
  std::string_view sender;
  std::string_view to;
  std::string_view return_path;
  std::string_view auto_submitted;
  std::string_view precedence;
  std::string_view x_failed_recipients;
  std::string_view in_reply_to;
  std::string_view references;
  std::string_view message_id;
  std::string_view list_id;
  std::string_view mailer;      // X-Mailer
  std::string_view auto_reply;  // any of the fields that only automatic replies have
  std::string_view filtered;    // X-SPASIGN of au/KDDI
  bool has_return_path = false;
  bool from_list = false;               // List-Id, List-Unsubscribe, List-Post, Mailing-List
  std::string subject;                  // decoded, at most 1,000 bytes
  std::vector<HeaderField> deliveries;  // Delivered-To, X-Original-To, …, To, Cc; at most 32
};

[[nodiscard]] TopHeader read_top_header(std::string_view headers);

// From is a mailer-daemon, a postmaster or some such, or empty.
[[nodiscard]] bool from_daemon(const TopHeader& top);
// The address in From is one that only programs have: mailer-daemon@, postmaster@, …, or none.
[[nodiscard]] bool from_daemon_address(const TopHeader& top);
// Return-Path is there and empty ("<>"), or is a mailer-daemon.
[[nodiscard]] bool null_return_path(const TopHeader& top);
// The subject begins as an automatic reply's does, in some fifteen languages.
[[nodiscard]] bool auto_reply_subject(std::string_view subject);
// The header says automatic reply, by whatever field; a delivery failure may say so too.
[[nodiscard]] bool says_auto_reply(const TopHeader& top);
// The subject is that of a notice about a delivery: failed or late.
[[nodiscard]] bool failure_subject(std::string_view subject);
[[nodiscard]] bool delay_subject(std::string_view subject);
// What postmasters send on their own: DMARC aggregates (RFC 7489), quarantine summaries.
[[nodiscard]] bool periodic_subject(std::string_view subject);
// A person's answer to such a notice, or one passed on.
[[nodiscard]] bool forwarded_subject(std::string_view subject);
// One of the services that ask the sender to prove himself.
[[nodiscard]] bool from_challenge_service(const TopHeader& top);

}  // namespace mailotp::mail
