// The Store port: whole operations, not rows. A store runs a batch of commands as one durable transaction:
// when commit() returns, what its outcomes say survives power loss. It is called by one thread and has none
// of its own; daemon/store_thread.h makes its completions asynchronous and gathers the batches (group
// commit).
//
// Ids, times and codes come in with the commands. A command decides first and writes last, so a refusal has
// written nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "core/address.h"
#include "core/bounce.h"
#include "core/brake.h"
#include "core/challenge.h"
#include "core/code.h"
#include "core/composer.h"
#include "core/config.h"
#include "core/delivery.h"
#include "core/id.h"
#include "core/limits.h"
#include "core/mailbox.h"
#include "core/outbox.h"
#include "core/relay_choice.h"
#include "core/result.h"
#include "core/secret.h"
#include "core/time.h"

namespace mailotp::core {

struct StoreRules;  // core/store_rules.h

// Who caused a change; goes into the event log.
enum class ActorKind : std::uint8_t { app = 0, operator_ = 1, daemon = 2 };
struct Actor {
  ActorKind kind = ActorKind::daemon;
  std::uint32_t uid = 0;
};

// ---- What is shown

struct MessageView {
  Id id;
  std::optional<Id> challenge;
  std::string app;
  MessageKind kind = MessageKind::otp;
  std::string recipient;  // mailbox
  MessageState state = MessageState::queued;
  bool current = true;  // of its challenge
  std::uint32_t attempts = 0;
  std::uint32_t uncertain = 0;
  std::optional<WallTime> next_attempt_at;  // when it is deferred or uncertain
  WallTime created_at;
  WallTime not_after;
  std::string relay;
  std::optional<Reply> reply;
  std::optional<Verdict> verdict;
  std::string message_id;
  std::string template_name;
  std::string template_version;
  std::string locale;
  std::uint64_t revision = 0;
  std::string metadata;  // JSON text or empty
};

struct ChallengeView {
  Id id;
  std::string app;
  std::string recipient;  // mailbox
  std::string purpose;
  ChallengeState state = ChallengeState::started;
  WallTime created_at;
  WallTime expires_at;
  int attempts_left = 0;
  int sends_left = 0;
  std::optional<WallTime> resend_at;  // while another send is possible
  std::uint64_t revision = 0;
  std::string metadata;                // JSON text or empty
  std::optional<MessageView> message;  // the current one
};

// How a bounce was traced to one of our mails.
enum class TracedBy : std::uint8_t { nothing = 0, recipient_token = 1, message_token = 2, both = 3 };
enum class BounceSource : std::uint8_t { dsn = 0, smtp = 1, provider = 2 };  // stored: never renumber
[[nodiscard]] std::string_view to_string(BounceSource source);

// One event in the ledger.
struct BounceView {
  std::int64_t n = 0;  // order of arrival
  WallTime at;
  BounceSource source = BounceSource::dsn;
  BounceKind kind = BounceKind::bounce;
  BounceClass bounce_class = BounceClass::unknown;
  std::optional<bool> permanent;
  std::string recipient;  // whom we sent to; else, untraced, whom the mail names; may be empty
  std::optional<Id> message;
  std::string app;  // empty: untraced
  std::string status;
  std::string diagnostic;  // at most 300 bytes, printable
  std::string rule;
  TracedBy traced_by = TracedBy::nothing;
  VerdictWeight weight = VerdictWeight::none;  // what it counted as; none: untraced or contradictory
};

struct SuppressionView {
  std::string address;  // mailbox
  std::string app;      // empty: for all, by an operator
  BounceClass bounce_class = BounceClass::user_unknown;
  WallTime since;
  std::optional<WallTime> until;     // unset: until an operator removes it
  std::optional<WallTime> probe_at;  // when the next confirmed request may go through; unset: never
  BounceSource source = BounceSource::dsn;
  bool by_operator = false;
  int times = 1;  // how often in a row: each is longer
};

enum class Deliverable : std::uint8_t { unknown, yes, no };
[[nodiscard]] std::string_view to_string(Deliverable deliverable);
// What one app's evidence says of an address.
struct RecipientView {
  std::string address;
  Deliverable deliverable = Deliverable::unknown;
  std::optional<SuppressionView> suppressed;
  std::optional<Verdict> last_verdict;
};

struct EventView {
  std::int64_t seq = 0;  // commit order
  WallTime at;
  std::string type;  // "challenge.created", "message.relayed", …
  std::string app;
  std::optional<Id> challenge;
  std::optional<Id> message;
  Actor actor;
  std::string detail;  // JSON text or empty: stage, reply, relay, reason; never a code or a body
};

// ---- Refusals: ordinary values, not errors

enum class RefusalKind : std::uint8_t {
  not_found,
  challenge_closed,
  message_closed,
  resend_cooldown,  // retry_after is set
  sends_exhausted,
  template_unknown,  // detail, field
  template_failed,   // detail, field
  rate_limited,
  overloaded,            // too many open messages, or too little free disk
  idempotency_mismatch,  // the key was used with another request
  recipient_suppressed,  // `suppression` is set
  keys_missing,          // TakeOver lacks one that rows need: detail names it
};
struct Limit {
  std::string name;
  std::int64_t max = 0;
  Seconds period{0};
  WallTime reset_at;
};
struct Refusal {
  RefusalKind kind = RefusalKind::not_found;
  std::string detail;
  std::string field;
  std::optional<Millis> retry_after;
  std::optional<Limit> limit;  // on every 429
  std::optional<SuppressionView> suppression = {};
};

// ---- Outcomes, one a command

enum class Disposition : std::uint8_t { created, resent, sent, canceled };
struct ChallengeAnswer {
  Disposition disposition = Disposition::created;
  ChallengeView challenge;
};
struct MessageAnswer {
  MessageView message;
};
enum class CheckResult : std::uint8_t {
  valid,
  invalid,
  exhausted,
  expired,
  already_used,
  canceled,
  binding_mismatch
};
[[nodiscard]] std::string_view to_string(CheckResult result);
struct CheckAnswer {
  CheckResult result = CheckResult::invalid;
  int attempts_left = 0;
  std::optional<ChallengeState> state;  // absent: the short form found no challenge
  std::string metadata;
};
// What an app was told, as it was told: kept for a repeat of its request.
struct KeptAnswer {
  int status = 0;
  std::string location;
  Secret body;
};
// What a Purge removed, and whether more waits for the next one.
struct Purged {
  std::int64_t rows = 0;
  bool more = false;
};
// What becomes of a mail of the bounce mailbox.
struct MailFiled {
  MailUid mail;
  MailFate fate = MailFate::leave;
};
struct MailboxState {
  std::uint32_t after_uid = 0;
  std::vector<MailToMove> moves;
  std::uint64_t foreign = 0;  // mails of this mailbox that were left alone
};
struct BounceRecorded {
  BounceView bounce;
  bool repeated = false;  // it was known already: nothing has changed
};
struct SuppressionAnswer {
  SuppressionView suppression;
};
// What one step of an Erase removed.
struct Erased {
  std::int64_t rows = 0;
  std::optional<std::int64_t> next;  // there is more: the place to go on from
};
// How far a FlushOutbox has come, in the order of due_at.
struct FlushPlace {
  WallTime due_at{Millis{-1}};
  std::int64_t n = 0;
  WallTime last = k_never;  // due_at of the last one when it began: what has failed again comes after it
};
// What one step of it did.
struct Flushed {
  std::int64_t messages = 0;       // that are queued now
  std::optional<FlushPlace> next;  // there may be more: the place to go on from
};
struct Done {};

// An Error is the store's (io, no_space, busy, corrupt): the command has not happened.
using Answer = std::variant<Done, ChallengeAnswer, MessageAnswer, CheckAnswer, KeptAnswer, Purged, MailFiled,
                            MailboxState, BounceRecorded, SuppressionAnswer, Erased, Flushed, Refusal>;
using Outcome = Result<Answer>;

// ---- Commands

// An Idempotency-Key: a command that succeeds leaves its answer under it, in the same commit, for a day; a
// repeat gets that answer (as KeptAnswer) and does nothing. A refusal or an error leaves nothing.
struct Once {
  std::string key;  // as the app gave it, 1 to 255 bytes; counts for its app alone
  Secret request;   // method, target and body: another request under the key is Refusal idempotency_mismatch
  std::function<KeptAnswer(const Answer&)>
      keep;  // pure; called inside the transaction, on the store's thread
};

struct ChallengeTerms {
  Seconds ttl{600};
  int max_attempts = 5;
  int max_sends = 5;
  Seconds cooldown{30};
  Seconds usable_minimum{60};
  ResendMode resend = ResendMode::same;
  CodeSpec code;
};

// A first send, composed before its command is queued. (A resend is composed in the transaction, from what
// the challenge keeps sealed; with ResendMode::fresh its code is made there, from the store's injected
// RandomSource.)
struct NewMessage {
  Id id;
  ComposedMail mail;
};

// What a request to a suppressed address asks for: a refusal, or, since its user has confirmed it, one mail a
// day.
enum class SuppressedUse : std::uint8_t { refuse, probe };

struct CreateChallenge {
  WallTime at;
  Id id;
  std::string app;
  std::string purpose;
  Address recipient;
  ChallengeTerms terms;
  Secret code;
  std::string template_name;
  std::string locale;
  Secret variables;                   // JSON object text or empty
  Secret binding;                     // canonical JSON object text, or empty
  std::string metadata;               // JSON text or empty
  std::optional<NewMessage> message;  // absent: send:false
  // The short form: when an open challenge of (app, purpose, recipient) exists, this is a send of that one
  // instead; one with less than usable_minimum left is canceled and replaced. A resend takes the id of
  // `message`.
  enum class Reuse : std::uint8_t { never, open_one } reuse = Reuse::never;
  SuppressedUse suppressed = SuppressedUse::refuse;
  Client client;  // under whose address the send is counted, and whose wrong guesses are told apart
  Actor actor;
  std::optional<Once> once = {};
};

// A templated mail that is no code.
struct CreateMessage {
  WallTime at;
  Id id;
  std::string app;
  Address recipient;
  std::string template_name;
  WallTime not_after;
  std::string metadata;  // JSON text or empty
  ComposedMail mail;
  Actor actor;
  std::optional<Once> once = {};
};

struct SendChallenge {
  WallTime at;
  std::string app;
  Id id;
  Id message;  // id of the message to be made, in the store's transaction, through the Composer
  Actor actor;
  std::optional<Once> once = {};
};

struct CheckCode {
  WallTime at;
  std::string app;
  // Either the id, or (short form) the newest challenge of purpose and recipient.
  std::optional<Id> id;
  std::string purpose;
  std::optional<Address> recipient;
  Secret typed;           // as typed
  Secret binding;         // canonical JSON object text, or empty
  std::string client_id;  // of the device that typed it; empty: with an id, that of the challenge
  Actor actor;
  std::optional<Once> once = {};
};

struct CancelChallenge {
  WallTime at;
  std::string app;
  Id id;
  Actor actor;
  std::optional<Once> once = {};
};

// A request that can no longer be carried out (its template is gone, its time is past), but may have been:
// its KeptAnswer or Refusal idempotency_mismatch; else Refusal not_found. Changes nothing.
struct Recall {
  WallTime at;
  std::string app;
  Once once;
};

struct SettleFact {  // JobDotNext, JobRelayed, JobRefused, JobNotSent, JobUncertain
  WallTime at;
  Fact fact;
};

struct SettleLost {  // the agent that held it is gone
  WallTime at;
  AttemptKey key;
  bool dot_possible = true;
};

// Asked when a step of much work begins, which only starts its clock, and every few rows of it: true when
// other requests have waited for it long enough. Empty: its limit alone holds.
using Enough = std::function<bool()>;

// Time has passed: expires challenges and messages, makes deferred and uncertain messages due; at most
// `limit` rows each.
struct Sweep {
  WallTime at;
  int limit = 200;
  Enough enough = {};
};

// Removes what has been over for longer than the retention says, at most `limit` rows of each table: answers
// Purged.
struct Purge {
  WallTime at;
  int limit = 200;
  Enough enough = {};
};

// A relay can be reached again: messages that wait for one are due, at most `limit` of them at once, the
// others with the next sweeps.
struct WakeForRelay {
  WallTime at;
  int limit = 100;
};

// The operator's word, kept across restarts.
struct SuspendRelay {
  WallTime at;
  std::string relay;
  bool suspended = true;
  Actor actor;
};

// How the wall clock stands to the time since boot, which cannot be set.
struct ClockState {
  std::string boot;  // names one boot of the machine
  Millis offset{0};  // wall clock less time since boot
};

// The wall clock was set: every time that is still to come moves with it. `at` is by the clock before.
struct ShiftClock {
  WallTime at;
  Millis by{0};  // 0: only how the clock stands now is kept
  ClockState clock;
};

// ---- The bounce mailbox

// Answers MailboxState. Another uidvalidity than the last one: everything in the mailbox is looked at anew,
// and what was counted is known by its hash.
struct OpenMailbox {
  WallTime at;
  std::uint32_t uidvalidity = 0;
};
// Traces, judges and records what a mail says: ledger, message, challenge, suppression, in one commit.
// Answers MailFiled; a mail that is known already changes nothing and has the same fate again.
struct RecordMail {
  WallTime at;
  MailRead mail;
};
// A mail that is never read: counted, and moved. Answers MailFiled.
struct RecordPoison {
  WallTime at;
  MailUid mail;
};
// Answers MailboxState: its `moves` are the first of those left over when it was opened that are not moved
// yet; some of them may be on their way.
struct RecordMoved {
  WallTime at;
  MailMoved moved;
};
// A provider's word about one of our mails. Answers BounceRecorded, or Refusal not_found when neither token
// names a message of ours.
struct ReportBounce {
  WallTime at;
  std::string message_id;  // either of them, with or without angle brackets
  std::string envid;
  BouncedRecipient recipient;  // address empty: the message's
  Actor actor;
};
// Answers SuppressionAnswer.
struct PutSuppression {
  WallTime at;
  Address address;
  BounceClass bounce_class = BounceClass::user_unknown;
  std::optional<WallTime> until;
  Actor actor;
};
// For every app and of every class. Refusal not_found: there is none.
struct DropSuppression {
  WallTime at;
  Address address;
  Actor actor;
};

// ---- Operators

enum class MessageOrder : std::uint8_t { retry, hold, release, cancel };
[[nodiscard]] std::string_view to_string(MessageOrder order);

// What an operator wants of one message; core/outbox.h says what that is in each state. Answers
// MessageAnswer, with what the order left (a late `retry` finds it `expired`), also where nothing was to be
// done: `hold` of a held message, `release` of one that is not held, `retry` of one that is queued or being
// sent. Refusal not_found, or message_closed: it has ended, or is being sent and cannot be held. What is
// being sent is canceled when it comes back, and then only if it has not left.
struct OrderMessage {
  WallTime at;
  Id id;
  MessageOrder order = MessageOrder::retry;
  Actor actor;
};

// All deferred messages are due now, as if each were ordered to be retried. Not the uncertain ones: a repeat
// of these is decided one by one. In steps: answers Flushed, and is to be given again with its `next`.
struct FlushOutbox {
  WallTime at;
  std::optional<FlushPlace> after;  // absent: from the beginning
  int limit = 500;
  Actor actor;
};

// Removes an address, in every spelling that folds to it (core/limits.h), from all rows and events; open
// challenges end, unsent mails are not sent. What is counted for the limits stays. In steps, so that no
// request waits for a long one: answers Erased, and is to be given again with its `next`.
struct Erase {
  WallTime at;
  Address address;
  std::int64_t from = 0;         // 0: from the beginning; else as Erased::next
  std::int64_t rows_before = 0;  // that earlier steps removed, for the event at the end
  int limit = 200;               // rows a step, of each table
  Actor actor;
};

// A request was refused: noted for the timeline of its recipient, or of the challenge that it named. Answers
// Done. Who gives it bounds how often (daemon/api/refusal_notes.h): a refusal itself writes nothing.
struct NoteRefusal {
  WallTime at;
  std::string app;
  std::string purpose;               // empty: it named none
  std::optional<Id> challenge;       // that it named
  std::optional<Address> recipient;  // … or whom it was for
  std::string code;                  // as the app was told: "rate_limited"
  std::string detail;                // for people; may be empty
  std::optional<Limit> limit = {};
  std::int64_t times = 1;  // this one, and those like it that were not noted before it
  Actor actor;
};

// Configuration and key file were read again: all of it counts from this commit on. Answers Done, or Refusal
// keys_missing: nothing has changed.
struct TakeOver {
  WallTime at;
  std::vector<Secret> keys;                 // the first one writes
  std::string source;                       // for errors: the file's path
  std::shared_ptr<const StoreRules> rules;  // null: they stay. Shared: the writer goes on with them
};

using Command =
    std::variant<CreateChallenge, CreateMessage, SendChallenge, CheckCode, CancelChallenge, Recall,
                 SettleFact, SettleLost, Sweep, Purge, WakeForRelay, SuspendRelay, ShiftClock, OpenMailbox,
                 RecordMail, RecordPoison, RecordMoved, ReportBounce, PutSuppression, DropSuppression,
                 OrderMessage, FlushOutbox, Erase, NoteRefusal, TakeOver>;

// What the bounce mailbox brings. These stay in their order, whatever fails: a mail that is recorded stands
// for all mails before it.
[[nodiscard]] bool is_of_mailbox(const Command& command);

// Something that a long-poll may wait for has changed.
struct Change {
  std::optional<Id> challenge;
  std::optional<Id> message;
};

// What may be handed out in this commit.
struct ClaimBudget {
  std::vector<RelayOffer> relays;
};

// An event of the ledger, for the log and the alarms. `recipient` is not for a log.
struct BounceNews {
  BounceView bounce;
  std::string relay;  // that took or refused the message; empty: untraced
};

// For the operator: an app's sends are held, or are no more.
struct BrakeNews {
  std::string app;
  bool on = false;
  BrakeCount count;
  WallTime until;  // on: when the next send passes, if nothing more happens
};

// A relay has taken a message.
struct RelayedNews {
  MessageKind kind = MessageKind::otp;
  Millis waited{0};  // since it was accepted
};

struct Committed {
  std::vector<Outcome> outcomes;  // as many as commands, in their order
  std::vector<Change> changes;
  std::vector<BounceNews> bounces;
  std::vector<BrakeNews> brakes;
  std::vector<RelayedNews> relayed;
  bool events = false;               // something was appended to the log of events
  std::vector<Job> jobs;             // claimed in this transaction, earliest not_after first
  std::optional<WallTime> next_due;  // when a Sweep will have something to do, or a relay's rate has room
  bool more_queued = false;          // queued messages are left
  bool claim_again = false;          // … and the claims stopped early: more could be handed out at once
  std::uint64_t unreadable = 0;      // rows newly found that cannot be read: held, or passed over
  std::optional<Error> error;        // the transaction as a whole, or its claims, failed: there are no jobs
};

// A start on a snapshot (store/snapshot.h): what waited in it may have been done since.
struct Restored {
  std::uint64_t challenges = 0;  // that were open and are canceled; what was unsent of their mails with them
  std::uint64_t messages = 0;    // other unsent ones, which are held
};

struct Recovered {
  std::uint64_t orphans = 0;  // messages found in `sending`
  std::uint64_t held = 0;     // … of which held as poison
  std::optional<WallTime> next_due;
  bool more_queued = false;
  std::uint64_t unreadable = 0;        // … after a run that did not end cleanly: rows held for that
  std::vector<std::string> suspended;  // relays
  bool limits_anew = false;            // no key of the ring opens what the limits were counted under
  std::optional<Restored> restored;    // absent: it was no snapshot
};

// What a look at the state folder has found.
struct StoreLook {
  std::optional<Error> closed;  // nothing new is accepted or handed out until a later look finds it gone
  std::string low;              // why new work is refused though delivery goes on; empty: it is not
};

class Store {
 public:
  virtual ~Store() = default;
  // Once, before anything is answered (but a ShiftClock): settles every message found in `sending`; on a
  // snapshot cancels every open challenge, holds every unsent message, and makes a database of it, all at
  // once.
  [[nodiscard]] virtual Result<Recovered> recover(WallTime now) = 0;
  // One durable transaction for all of the batch and the claims. On an error of the store nothing of a
  // command that reports it has happened and no job is handed out.
  [[nodiscard]] virtual Committed commit(std::span<Command> batch, const ClaimBudget& budget,
                                         WallTime now) = 0;
  // Work for an idle moment: a passive checkpoint of the log.
  [[nodiscard]] virtual Result<> rest() = 0;
  // Once a second: is there room, and are the files still ours? After a full or read-only disk it is also
  // what finds that it can be written again.
  [[nodiscard]] virtual StoreLook look() = 0;
};

// ---- Reading, on a connection of its own; sees what is committed.

struct Page {
  int limit = 50;      // 1 to 500
  std::string cursor;  // opaque; empty: from the newest
};
struct OutboxFilter {
  std::optional<MessageState> state;
  std::string recipient;  // mailbox, any spelling; empty: all
  std::string app;
  std::string relay;
};
struct BounceFilter {
  std::string recipient;  // mailbox, any spelling; empty: all
  std::string app;
  std::optional<Id> message;
  std::optional<BounceKind> kind;
  std::optional<BounceClass> bounce_class;
};
template <class T>
struct PageOf {
  std::vector<T> items;
  std::optional<std::string> next_cursor;
};
struct OutboxDetail {
  MessageView message;
  std::vector<EventView> events;  // oldest first
};
// Of one of these.
struct TimelineFilter {
  std::string recipient;  // mailbox, any spelling; empty: not asked for
  std::optional<Id> challenge;
  std::optional<Id> message;  // with what happened to its challenge
};
struct TimelineItem {
  EventView event;
  // Of what was made for it, where the event is of a message that is kept.
  std::string template_name;
  std::string template_version;
  std::string locale;
};
struct EventFilter {
  std::string app;         // empty: all
  std::int64_t after = 0;  // seq
  int limit = 100;         // 1 to 500
};
struct EventPage {
  std::vector<EventView> items;  // oldest first
  std::int64_t after = 0;        // all up to here were looked at
  bool more = false;             // there are later ones already
};
// A key that has written. What is said of one that another has replaced (retired_at):
struct KeyUse {
  std::string id;  // 8 hexadecimal digits
  std::optional<WallTime> retired_at;
  bool challenges = false;  // open ones need it: without it no start
  bool messages = false;    // … unsent ones
  // Until then repeats of a request may ask for answers that were kept under it, and bounces may bring its
  // tokens.
  std::optional<WallTime> answers_until;
  std::optional<WallTime> bounces_until;
};
[[nodiscard]] bool is_needed(const KeyUse& key, WallTime now);
struct Stats {
  std::map<std::string, std::int64_t> messages;        // by state, now
  std::map<std::string, std::int64_t> oldest_seconds;  // by open state, only where there is one
  std::int64_t accepted_total = 0;                     // survives purge
  std::map<std::string, std::int64_t> ended_total;     // by end state; a removed `uncertain` one ended so
  std::map<std::string, std::int64_t> challenges;      // by state, now
  std::map<std::string, std::int64_t> bounces;         // of kind bounce, by class, ever; survives purge
  std::int64_t suppressed_total = 0;                   // an address, by a bounce or an operator, each time
  std::int64_t contradictory_total = 0;                // reports whose tokens lead to different mails
  std::int64_t unread_mails_total = 0;                 // of the bounce mailbox, that killed their reader
};

// `app` empty: any (operators). Another app's id is not_found.
class StoreReader {
 public:
  virtual ~StoreReader() = default;
  [[nodiscard]] virtual Result<ChallengeView> challenge(const std::string& app, const Id& id,
                                                        WallTime now) = 0;
  [[nodiscard]] virtual Result<MessageView> message(const std::string& app, const Id& id) = 0;
  [[nodiscard]] virtual Result<PageOf<MessageView>> outbox(const OutboxFilter& filter, const Page& page) = 0;
  [[nodiscard]] virtual Result<OutboxDetail> outbox_item(const Id& id) = 0;
  [[nodiscard]] virtual Result<Stats> stats(WallTime now) = 0;
  [[nodiscard]] virtual Result<RecipientView> recipient(const std::string& app, const Address& address,
                                                        WallTime now) = 0;
  [[nodiscard]] virtual Result<PageOf<BounceView>> bounces(const BounceFilter& filter, const Page& page) = 0;
  // Those in force.
  [[nodiscard]] virtual Result<PageOf<SuppressionView>> suppressions(const std::string& recipient,
                                                                     const Page& page, WallTime now) = 0;
  // Everything that is kept of it, oldest first; a cursor is the place after the last item. Errc::not_found
  // for an id of which nothing is.
  [[nodiscard]] virtual Result<PageOf<TimelineItem>> timeline(const TimelineFilter& filter,
                                                              const Page& page) = 0;
  // In the order of the commits. Errc::invalid for an `after` that no event can have had.
  [[nodiscard]] virtual Result<EventPage> events(const EventFilter& filter) = 0;
  // The seq of the newest event; 0: there is none.
  [[nodiscard]] virtual Result<std::int64_t> newest_event() = 0;
  [[nodiscard]] virtual Result<std::vector<KeyUse>> keys() = 0;
  // By which it tells what limits leave, from here on.
  virtual void take_over(LimitRules limits) = 0;
};

}  // namespace mailotp::core
