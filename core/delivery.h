// What the daemon and the SMTP agent say to each other: jobs one way, facts the other. The agent reports
// facts; every decision is the daemon's (core/outbox.h). These are plain values; mail/channel turns them into
// frames.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/id.h"
#include "core/result.h"
#include "core/secret.h"
#include "core/time.h"

namespace mailotp::core {

// Where in a delivery something happened, in the order in which they come. The numbers travel and are stored.
enum class Stage : std::uint8_t {
  local = 0,  // in the agent itself: descriptors, memory, the capture folder
  dns = 1,
  connect = 2,
  tls = 3,
  greeting = 4,
  ehlo = 5,
  starttls = 6,
  auth = 7,
  mail = 8,
  rcpt = 9,
  data = 10,
  body = 11,
  dot = 12,
};
inline constexpr int k_stages = 13;
[[nodiscard]] std::string_view to_string(Stage stage);
[[nodiscard]] constexpr bool is_session_stage(Stage s) {
  return s < Stage::mail;
}

// An SMTP reply; code 0 in a message's row: no reply, `text` says what was seen instead. `text` is what the
// relay said, without the codes, printable (outside bytes escaped), at most 500 bytes.
struct Reply {
  int code = 0;        // 200-599
  std::string status;  // enhanced status code (RFC 3463) "5.1.1", or empty
  std::string text;
  bool operator==(const Reply&) const = default;
};

// Fencing: the attempt number is taken from the row when it is claimed and grows with every claim. A fact
// counts only with the number of the claim that is in force.
struct AttemptKey {
  Id message;
  std::uint32_t attempt = 0;
  bool operator==(const AttemptKey&) const = default;
};

// One mail to hand to a relay, once.
struct Job {
  AttemptKey key;
  std::string relay;        // name of the relay to use
  std::string return_path;  // envelope sender
  std::string recipient;    // envelope recipient, as Address::mailbox()
  std::string envid;        // at most 80 plain characters; may be empty
  Millis time_left{
      0};          // until not_after, at the moment of the hand-over; the agent never starts a dot after it
  Secret content;  // RFC 5322 bytes, CRLF only
};

// ---- Facts about one job. Exactly one of relayed, refused, not_sent, uncertain ends a job.
struct JobDotNext {  // sent before the first byte of the final dot can reach the kernel: from here a loss is
                     // uncertain
  AttemptKey key;
};
struct JobRelayed {  // 2xx to the dot, after 2xx to RCPT
  AttemptKey key;
  Reply reply;
};
struct JobRefused {  // a final reply of the relay about this message (MAIL, RCPT, DATA, dot)
  AttemptKey key;
  Stage stage = Stage::mail;
  Reply reply;
};
struct JobNotSent {  // the final dot was not sent and no reply judged the message; a repeat cannot duplicate
  AttemptKey key;
  Stage stage = Stage::local;
  std::string reason;          // for people, printable, at most 500 bytes
  std::optional<Reply> reply;  // of the session (greeting, AUTH, 421 …) if there was one
};
struct JobUncertain {  // the dot may have reached the relay; no final reply came
  AttemptKey key;
  std::string reason;
};

// ---- Facts about a relay.
enum class RelayCondition : std::uint8_t { up = 0, down = 1 };
// What kind of trouble a relay is in. Asking again soon helps with the ordinary kind only.
enum class RelayTrouble : std::uint8_t {
  ordinary = 0,
  auth_refused = 1,  // 5yz to AUTH, or no mechanism that both know
  certificate = 2,   // its TLS certificate is not acceptable
};
// One session that was opened (up), or one that could not be opened or was broken by the relay (down), with a
// message in it or not, while no other connection to it works. It comes before the fact about that message.
// Each failure is reported, even when it looks like the last one: the breaker counts them.
struct RelayFact {
  std::string relay;
  RelayCondition condition = RelayCondition::down;
  Stage stage = Stage::connect;                   // when down: where it failed
  std::string reason;                             // when down: what was seen, printable, at most 500 bytes
  int connections = 0;                            // open now
  RelayTrouble trouble = RelayTrouble::ordinary;  // when down
};

// ---- Facts about the agent.
enum class Confinement : std::uint8_t { full = 0, no_landlock = 1 };
struct AgentReady {  // answers the hello; jobs may follow
  std::string version;
  std::int64_t pid = 0;
  Confinement confinement = Confinement::full;
};
struct AgentLog {  // one line "event key=value …" for the daemon's log; no secret in it
  std::string line;
};
// One step of `relay test` (DNS, TCP, TLS, AUTH …), and its end.
struct TestStep {
  std::uint32_t test = 0;  // echoes the request
  Stage stage = Stage::dns;
  bool ok = false;
  std::string saw;
};
struct TestDone {
  std::uint32_t test = 0;
  bool ok = false;
  RelayTrouble trouble = RelayTrouble::ordinary;  // when not ok
};

using Fact = std::variant<JobDotNext, JobRelayed, JobRefused, JobNotSent, JobUncertain, RelayFact, AgentReady,
                          AgentLog, TestStep, TestDone>;

// ---- What the daemon says to the agent, besides jobs.
enum class RelayKind : std::uint8_t { smtp = 0, capture = 1 };
enum class TlsMode : std::uint8_t { none = 0, starttls = 1, implicit = 2 };
enum class AuthMode : std::uint8_t { none = 0, automatic = 1, plain = 2, login = 3, xoauth2 = 4 };

// A relay as the agent needs it. The password is read by the daemon from its file before each hello and
// update: the agent can open no file of ours.
struct RelaySettings {
  std::string name;
  RelayKind kind = RelayKind::smtp;
  std::string directory;  // capture: the maildir, absolute
  std::string host;
  std::uint16_t port = 587;
  TlsMode tls = TlsMode::starttls;
  std::string server_name;  // what the certificate must say
  std::string ca_file;      // PEM; empty: the system's
  AuthMode auth = AuthMode::automatic;
  std::string username;
  Secret password;
  int max_connections = 8;
};

// How long each phase of an SMTP session may take: wall clock of the whole phase, not of one read. A job's
// time left clamps every phase before the dot.
struct SessionLimits {
  Millis connect{4'000};
  Millis greeting{8'000};
  Millis ehlo{5'000};
  Millis starttls{8'000};  // the reply; once more the handshake
  Millis auth{8'000};
  Millis mail{5'000};
  Millis rcpt{10'000};
  Millis data{8'000};
  Millis write{30'000};       // without any progress, within the body
  Millis before_dot{20'000};  // from the hand-over to the dot, waiting for a connection included
  Millis dot{60'000};
  Millis idle{30'000};          // a warm connection without work
  Millis session_age{300'000};  // a connection is replaced after this …
  int session_messages = 500;   // … or after this many messages
  bool operator==(const SessionLimits&) const = default;
};

struct Hello {
  std::string hostname;                 // EHLO
  std::vector<std::string> dsn_notify;  // of failure, delay, success; empty: no NOTIFY
  SessionLimits limits;
  std::vector<RelaySettings> relays;
};
struct CancelJob {  // best effort: a job whose dot is out cannot be called back; its fact still comes
  AttemptKey key;
};
struct SetPassword {  // the answer to a fact that a relay refused AUTH, and on change of the file
  std::string relay;
  Secret password;
};
struct TestRelay {
  std::uint32_t test = 0;
  std::string relay;
};
struct Drain {  // take no more jobs; before the dot sessions are cut, after it they have `grace`; then exit 0
  Millis grace{0};
};

using Order = std::variant<Hello, Job, CancelJob, SetPassword, TestRelay, Drain>;

}  // namespace mailotp::core
