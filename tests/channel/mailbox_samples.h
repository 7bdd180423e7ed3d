// Orders and events of the IMAP agent with another value in every field, so that a field that is lost or
// swapped shows.
#pragma once

#include <string>
#include <vector>

#include "core/mailbox.h"

namespace mailotp::samples {

inline core::MailboxSettings mailbox_settings() {
  core::MailboxSettings settings;
  settings.host = "imap.example.net";
  settings.port = 1993;
  settings.tls = core::TlsMode::starttls;
  settings.server_name = "mx.example.net";
  settings.ca_file = "/etc/ssl/own.pem";
  settings.auth = core::AuthMode::xoauth2;
  settings.username = "us\xc3\xa4r";
  settings.password = core::Secret(std::string("pass\0word\xff", 10));
  settings.mailbox = "INBOX";
  settings.processed = "done";
  settings.unrecognised = "strange";
  settings.bounce_local = "bounces";
  settings.bounce_domain = "example.org";
  settings.keep = core::Seconds{77};
  return settings;
}

inline core::MailboxHello mailbox_hello() {
  core::MailboxHello hello;
  int next = 1;
  for (core::Millis* value :
       {&hello.limits.connect, &hello.limits.tls, &hello.limits.command, &hello.limits.fetch,
        &hello.limits.poll, &hello.limits.idle, &hello.limits.noop, &hello.limits.backoff_first,
        &hello.limits.backoff_most, &hello.limits.refused_pause})
    *value = core::Millis{next++ * 1'000'000};
  hello.limits.fetch_bytes = 1234;
  hello.mailbox = mailbox_settings();
  return hello;
}

inline core::BouncedRecipient bounced_recipient() {
  return {"no.one@example.net", core::BounceKind::delay,         false, "4.2.2", "452 4.2.2 over quota",
          "mx.example.net",     core::BounceClass::mailbox_full, true};
}

inline core::MailRead mail_read() {
  core::MailRead read;
  read.mail = {7, 4711};
  read.size = 300'000;
  for (std::size_t i = 0; i < read.hash.size(); ++i)
    read.hash[i] = static_cast<std::uint8_t>(200 + i);
  read.addressed = true;
  read.tags = {"tag1", "tag2"};
  read.report.kind = core::BounceKind::bounce;
  read.report.rule = "dsn-fields";
  read.report.recipients = {bounced_recipient(), {}};
  read.report.envids = {"e1"};
  read.report.message_ids = {"m1@example.org", "m2@example.org", "m3"};
  read.report.headers = {"h1"};
  return read;
}

// The largest that core/bounce.h allows.
inline core::MailRead full_mail_read() {
  core::MailRead read = mail_read();
  core::BouncedRecipient recipient = bounced_recipient();
  recipient.address = std::string(320, 'a');
  recipient.status = "5.123.123";
  recipient.diagnostic = std::string(core::k_bounce_diagnostic, 'd');
  recipient.remote_host = std::string(255, 'h');
  recipient.permanent = true;
  read.report.recipients.assign(core::k_bounced_recipients, recipient);
  read.report.rule = std::string(core::k_bounce_rule, 'r');
  const std::vector<std::string> tokens(core::k_returned_tokens, std::string(core::k_returned_token, 't'));
  read.tags = read.report.envids = read.report.message_ids = read.report.headers = tokens;
  return read;
}

inline std::vector<std::uint32_t> uids(std::size_t count) {
  std::vector<std::uint32_t> uids;
  for (std::size_t i = 0; i < count; ++i)
    uids.push_back(0xffffffffU - static_cast<std::uint32_t>(i));
  return uids;
}

inline std::vector<core::MailboxOrder> mailbox_orders() {
  std::vector<core::MailboxOrder> all;
  all.emplace_back(mailbox_hello());
  all.emplace_back(core::MailboxHello{});
  all.emplace_back(core::MailboxResume{1, 0, {}, {}});
  core::MailboxResume resume{0xffffffff, 5000, {}, {9, 8}};
  resume.moves = {{3, core::MailFate::processed}, {4, core::MailFate::unrecognised}};
  all.emplace_back(resume);
  core::MailboxResume full{2, 3, {}, uids(core::k_mails_a_fact)};
  for (const std::uint32_t uid : full.poison)
    full.moves.push_back({uid, core::MailFate::processed});
  all.emplace_back(full);
  all.emplace_back(core::MailDecided{{5, 6}, core::MailFate::unrecognised});
  all.emplace_back(core::SetMailboxPassword{core::Secret("hunter2")});
  all.emplace_back(core::Drain{core::Millis{10'000}});
  return all;
}

inline std::vector<core::MailboxEvent> mailbox_events() {
  return {
      core::AgentReady{"0.1.0", 4711, core::Confinement::no_landlock},
      core::AgentLog{"event=something key=value"},
      core::MailboxFact{true, "", "", core::RelayTrouble::ordinary},
      core::MailboxFact{false, "login", "NO refused", core::RelayTrouble::auth_refused},
      core::MailboxOpened{1, 2, 3},
      core::MailboxOpened{0xffffffff, 0, 0},
      core::MailNext{{4, 5}},
      mail_read(),
      full_mail_read(),
      core::MailMoved{9, {}},
      core::MailMoved{9, uids(3)},
      core::MailMoved{9, uids(core::k_mails_a_fact)},
  };
}

}  // namespace mailotp::samples
