// What the daemon and the IMAP agent say to each other about the bounce mailbox. The agent reads mails and
// moves them; what a mail means, and what becomes of it, is decided and committed by the daemon first. Plain
// values; mail/channel turns them into frames.
//
//   agent: MailboxOpened ─► daemon: MailboxResume ─► agent: MailNext, MailRead … ─► daemon: MailDecided
//     ─► agent moves ─► MailMoved
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "core/bounce.h"
#include "core/delivery.h"
#include "core/secret.h"
#include "core/time.h"

namespace mailotp::core {

// What becomes of a mail. Stored: never renumber.
enum class MailFate : std::uint8_t {
  leave = 0,         // not ours: it stays where it is, its flags too
  processed = 1,     // a notice that was understood
  unrecognised = 2,  // came to our return path, and is no notice
};
[[nodiscard]] std::string_view to_string(MailFate fate);

// A mail is named by both (RFC 9051 section 2.3.1.1).
struct MailUid {
  std::uint32_t uidvalidity = 0;
  std::uint32_t uid = 0;
  auto operator<=>(const MailUid&) const = default;
};

using MailHash = std::array<std::uint8_t, 32>;  // SHA-256 of what was fetched of a mail

// ---- What the agent reports.

// The mailbox can be read, or not. Each failure is reported.
struct MailboxFact {
  bool up = false;
  std::string step;  // when down: "dns", "connect", "tls", "greeting", "login", "folders", "select", "idle",
                     // "fetch", "move", …
  std::string reason;  // when down: what was seen, printable, at most 500 bytes
  RelayTrouble trouble = RelayTrouble::ordinary;
};
// It has been selected: the agent waits for MailboxResume.
struct MailboxOpened {
  std::uint32_t uidvalidity = 0;
  std::uint32_t uidnext = 0;
  std::uint32_t exists = 0;
};
// This one is fetched and parsed next: if the agent dies now, this mail may be why.
struct MailNext {
  MailUid mail;
};
struct MailRead {
  MailUid mail;
  std::uint32_t size = 0;  // bytes on the server; what was fetched may be less
  MailHash hash{};
  bool addressed = false;         // to the bounce address, with any tag or none
  std::vector<std::string> tags;  // … the tags, unverified, at most k_returned_tokens
  BounceReport report;
};
// They are no longer in the mailbox: moved by us, or gone by themselves.
struct MailMoved {
  std::uint32_t uidvalidity = 0;
  std::vector<std::uint32_t> uids;  // at most k_mails_a_fact
};
inline constexpr std::size_t k_mails_a_fact = 500;

using MailboxEvent =
    std::variant<AgentReady, AgentLog, MailboxFact, MailboxOpened, MailNext, MailRead, MailMoved>;

// ---- What the daemon says.

// How long each step may take, wall clock.
struct MailboxLimits {
  Millis connect{10'000};
  Millis tls{10'000};
  Millis command{60'000};       // any command but those below
  Millis fetch{120'000};        // one mail
  Millis poll{60'000};          // the mailbox is looked at so often although IDLE is on
  Millis idle{25 * 60'000};     // IDLE is started anew (RFC 2177)
  Millis noop{30'000};          // the pause between looks where there is no IDLE
  Millis backoff_first{1'000};  // before another connection; doubles up to …
  Millis backoff_most{300'000};
  Millis refused_pause{300'000};  // after a refused password that has not changed since
  std::uint32_t fetch_bytes = 256 << 10;
  bool operator==(const MailboxLimits&) const = default;
};

struct MailboxSettings {
  std::string host;
  std::uint16_t port = 993;
  TlsMode tls = TlsMode::implicit;
  std::string server_name;
  std::string ca_file;
  AuthMode auth = AuthMode::login;  // login or xoauth2
  std::string username;
  Secret password;
  std::string mailbox;
  std::string processed;
  std::string unrecognised;
  std::string bounce_local;   // of bounce_address
  std::string bounce_domain;  // … lower case
  Seconds keep{30 * 86400};   // mails in `processed` older than this are expunged
};
struct MailboxHello {
  MailboxLimits limits;
  MailboxSettings mailbox;
};
struct MailToMove {
  std::uint32_t uid = 0;
  MailFate fate = MailFate::processed;
};
// Answers MailboxOpened.
struct MailboxResume {
  std::uint32_t uidvalidity = 0;
  std::uint32_t after_uid = 0;    // mails up to here are decided
  std::vector<MailToMove> moves;  // … and these are still to be moved; at most k_mails_a_fact, oldest first:
                                  // the next MailMoved may bring more, as MailDecided
  std::vector<std::uint32_t>
      poison;  // never to be fetched: they killed the agent twice. Moved to unrecognised
};
// Answers MailRead, once that is committed; and names what else is to be moved.
struct MailDecided {
  MailUid mail;
  MailFate fate = MailFate::leave;
};
struct SetMailboxPassword {
  Secret password;
};

using MailboxOrder = std::variant<MailboxHello, MailboxResume, MailDecided, SetMailboxPassword, Drain>;

}  // namespace mailotp::core
