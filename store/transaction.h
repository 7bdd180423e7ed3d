// One transaction of the writer: rows in and out, and what follows from a decision of the machines in core/.
// The commands (challenge_commands, message_commands) are built from these. What a transaction has learned
// for others (counters, changes) is taken over only when it has been committed.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/random.h"
#include "core/store.h"
#include "core/store_rules.h"
#include "core/tokens.h"
#include "store/brake_book.h"
#include "store/counters.h"
#include "store/events.h"
#include "store/keys.h"
#include "store/records.h"
#include "store/statements.h"
#include "store/usage.h"

namespace mailotp::store {

// Whether new work is taken.
struct Intake {
  std::optional<core::Error> closed;  // nothing is accepted or handed out
  std::string low;                    // nothing is accepted
};

// Rows at fault: nobody is to wait for them. After the first bad page SQLite takes no more writes in a
// transaction, so one that meets it notes the row here and fails, and the next try does without.
struct BadRows {
  std::set<std::int64_t> messages = {};    // passed over
  std::set<std::int64_t> bodies = {};      // their messages are held
  std::set<std::int64_t> challenges = {};  // passed over when their time is up
  std::set<core::Id> untold = {};          // challenges that are not told what became of their mails
  std::set<core::Id> deaf = {};            // messages that are not told what became of their attempts
  [[nodiscard]] std::size_t size() const {
    return messages.size() + bodies.size() + challenges.size() + untold.size() + deaf.size();
  }
};

// What every transaction works with. Lives as long as the store.
struct Writer {
  Connection db;
  Prepared<WriterSql, k_writer_statements> sql;
  KeyRing keys;
  std::shared_ptr<const core::StoreRules> rules;  // shared: with what a reload has made of them
  core::RandomSource& random;
  const core::BounceTokens& tokens;
  Counters totals;  // as committed
  Intake intake;
  BadRows bad = {};
  core::WallTime swept{core::Millis{0}};  // the last Sweep
  bool waking = false;                    // a WakeForRelay has left some to the next Sweep
  core::Millis shifted{0};                // all steps of the clock
  Hmac budget_mac = {};                   // with the secret of the row `budgets`
  BrakeBook brake_book = {};
  bool limits_anew = false;
  std::pair<std::string, std::int64_t> usage_walk{std::string(1, '\0'), 0};  // a purge has looked so far
  struct PurgeWalk {
    std::size_t turn = 0;   // the table that the next step begins with
    int done_in_a_row = 0;  // tables that had no more to remove
  } purge_walk = {};
};

// When and through whom.
struct Cause {
  core::WallTime at;
  core::Actor actor;
};

// A message that is about to be written.
struct MessageDraft {
  const core::Id& id;
  std::optional<core::Id> challenge;  // absent: a mail without a code
  std::optional<std::int64_t> previous;
  std::int64_t recipient;
  const std::string& app;
  const std::string& mailbox;
  const std::string& template_name;
  core::WallTime not_after;
  const core::ComposedMail& mail;
  const std::string& metadata;  // JSON text or empty
};

class Transaction {
 public:
  // `relays`: what the daemon knows of them now; outlives the transaction.
  Transaction(Writer& writer, std::span<const core::RelayOffer> relays, core::WallTime now)
      : writer_(writer),
        relays_(relays),
        now_(now),
        bad_before_(writer.bad.size()),
        shifted_(writer.shifted),
        usage_(*this),
        brakes_(writer.brake_book) {
    for (const core::RelayOffer& relay : relays)
      if (relay.use != core::RelayUse::no) places_ += static_cast<std::size_t>(std::max(relay.jobs, 0));
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  [[nodiscard]] Writer& writer() { return writer_; }
  [[nodiscard]] Statement& sql(WriterSql name) { return writer_.sql[name]; }

  // Each command of a batch begins with it.
  void begin_command() { found_recipient_.reset(); }

  // ---- Recipients
  // The row of this address; made when there is none.
  [[nodiscard]] core::Result<std::int64_t> recipient(const core::Address& address);
  // … absent when there is none. Remembered until the next command: one that forgets
  // recipients must not ask for them.
  [[nodiscard]] core::Result<std::optional<std::int64_t>> known_recipient(const core::Address& address);

  // ---- Challenges
  [[nodiscard]] core::Result<std::optional<ChallengeRecord>> challenge(const core::Id& id);
  [[nodiscard]] core::Result<std::optional<ChallengeRecord>> challenge(std::int64_t n);
  [[nodiscard]] core::Result<std::optional<ChallengeRecord>> newest_challenge(const core::Address& address,
                                                                              const std::string& app,
                                                                              const std::string& purpose);
  [[nodiscard]] core::Result<> add(ChallengeRecord& challenge);
  // Saves what the machine decided, ends unsent messages and erases secrets where it says so, and notes the
  // change. The caller appends the event.
  [[nodiscard]] core::Result<> apply(ChallengeRecord& challenge, const core::ChallengeStep& step,
                                     const Cause& cause);
  // As apply, with the event that the new state asks for (expired, canceled, exhausted).
  [[nodiscard]] core::Result<> end(ChallengeRecord& challenge, const core::ChallengeStep& step,
                                   const Cause& cause, std::string_view detail = {});
  [[nodiscard]] core::Result<> supersede_unsent(const ChallengeRecord& challenge, const Cause& cause);

  // ---- Messages
  [[nodiscard]] core::Result<std::optional<MessageRecord>> message(const core::Id& id);
  [[nodiscard]] core::Result<std::optional<MessageRecord>> message(std::optional<std::int64_t> n);
  // Queues a mail: row, sealed body, event, counters.
  [[nodiscard]] core::Result<MessageRecord> queue(const MessageDraft& draft, const Cause& cause);
  // Runs the machine on one message and does what it decides: row, body, event with `detail`, the revision of
  // its challenge. False: the event changed nothing.
  [[nodiscard]] core::Result<bool> step(MessageRecord& message, const core::MessageEvent& event,
                                        const Cause& cause, std::string_view detail = {});
  // Removes its row and its body, open or not, and what its challenge knew of it; not its events.
  [[nodiscard]] core::Result<> remove(const MessageRecord& message);
  // Errc::corrupt when it is missing or does not open.
  [[nodiscard]] core::Result<core::Secret> content(const MessageRecord& message);
  // A mail that this transaction has queued and nobody has touched since, as it was before it was sealed.
  struct Fresh {
    MessageRecord message;
    core::Secret content;
  };
  // Those of them that are to be claimed, if no other mail is queued; else none. Kept for as many as the
  // relays have places.
  [[nodiscard]] std::vector<Fresh> take_fresh();

  // ---- The rest
  [[nodiscard]] core::Result<> append(ChallengeNews news, const ChallengeRecord& challenge,
                                      const Cause& cause, std::string_view detail = {});
  [[nodiscard]] core::Result<> append(const MessageRecord& message, const Cause& cause,
                                      std::string_view detail);
  struct About {
    const std::string& app;
    std::optional<core::Id> challenge;
    std::optional<core::Id> message;
    std::optional<std::int64_t> recipient = {};  // with neither of them
  };
  [[nodiscard]] core::Result<> append(RecipientNews news, const About& about, const Cause& cause,
                                      std::string_view detail);
  [[nodiscard]] core::Result<> append(AppNews news, const std::string& app, const Cause& cause,
                                      std::string_view detail);
  void changed(std::optional<core::Id> challenge, std::optional<core::Id> message);
  void recorded(core::BounceNews news) { bounces_.push_back(std::move(news)); }
  void relayed(core::RelayedNews news) { relayed_.push_back(news); }
  // When it runs; the times of commands are their own.
  [[nodiscard]] core::WallTime now() const { return now_; }
  // A bad row has been found in this transaction, which will fail for it.
  [[nodiscard]] bool found_bad() const { return writer_.bad.size() != bad_before_; }
  // Rows that made no sense and are held for it.
  [[nodiscard]] std::uint64_t& unreadable() { return unreadable_; }
  [[nodiscard]] Counters& counted() { return counted_; }
  // Open messages, with those of this transaction.
  [[nodiscard]] std::int64_t open_messages() const {
    return writer_.totals.open_messages() + counted_.open_messages();
  }

  // ---- Limits
  [[nodiscard]] UsageCache& usage() { return usage_; }
  [[nodiscard]] Brakes& brakes() { return brakes_; }
  // A time that no step of the clock has moved, for what is counted.
  [[nodiscard]] core::WallTime even(core::WallTime at) const { return at - shifted_; }
  [[nodiscard]] core::Millis shifted() const { return shifted_; }
  void shift(core::Millis by) { shifted_ += by; }

  // Before the COMMIT: writes what was counted.
  [[nodiscard]] core::Result<> write_counted();
  // After it: the writer takes over what this transaction knows.
  void take_over();
  // The ring that the writer had before this transaction replaced it.
  void keep_keys(KeyRing before) {
    if (!keys_before_) keys_before_.emplace(std::move(before));
  }
  // … and the rules.
  void keep_rules(std::shared_ptr<const core::StoreRules> before) {
    if (!rules_before_) rules_before_ = std::move(before);
  }
  // After a ROLLBACK.
  void put_back();
  [[nodiscard]] core::Result<std::optional<core::WallTime>> next_due();
  [[nodiscard]] core::Result<bool> more_queued();
  [[nodiscard]] std::vector<core::Change> take_changes() { return std::move(changes_); }
  [[nodiscard]] std::vector<core::BounceNews> take_bounces() { return std::move(bounces_); }
  [[nodiscard]] std::vector<core::RelayedNews> take_relayed() { return std::move(relayed_); }
  [[nodiscard]] bool has_appended() const { return appended_; }
  [[nodiscard]] std::vector<core::BrakeNews> take_brakes() { return brakes_.take_news(); }

 private:
  [[nodiscard]] core::Result<> append(int type, const About& about, const Cause& cause,
                                      std::string_view detail);
  [[nodiscard]] core::Result<> save(const MessageRecord& message, core::WallTime at);
  // The machine's decision on one message, but for its challenge.
  [[nodiscard]] core::Result<bool> step_alone(MessageRecord& message, const core::MessageEvent& event,
                                              const Cause& cause, std::string_view detail);
  [[nodiscard]] core::Result<> tell_challenge(const MessageRecord& message, const Cause& cause);
  // Something happens to it: it is to be read anew.
  void not_fresh(std::int64_t n);
  // Runs `event` on every open message of the challenge; `why` goes into the log.
  [[nodiscard]] core::Result<> step_all(const ChallengeRecord& challenge, const core::MessageEvent& event,
                                        const Cause& cause, std::string_view why);

  struct FoundRecipient {
    std::string key;
    std::optional<std::int64_t> id;
  };

  Writer& writer_;
  std::span<const core::RelayOffer> relays_;
  core::WallTime now_;
  std::size_t bad_before_;
  std::uint64_t unreadable_ = 0;
  std::optional<FoundRecipient> found_recipient_;  // by this command
  Counters counted_;                               // by this transaction
  std::vector<core::Change> changes_;
  std::vector<core::BounceNews> bounces_;
  std::vector<core::RelayedNews> relayed_;
  bool appended_ = false;
  core::Millis shifted_;
  UsageCache usage_;
  Brakes brakes_;
  std::vector<Fresh> fresh_;  // in the order of n
  std::size_t places_ = 0;
  std::optional<KeyRing> keys_before_;
  std::shared_ptr<const core::StoreRules> rules_before_;
};

// Loads what is to be changed before anything is: a change would take the row from under the cursor.
template <class Row, class Read>
core::Result<std::vector<Row>> all_rows(Rows rows, Read read) {
  std::vector<Row> out;
  for (;;) {
    const auto more = rows.next();
    if (!more) return tl::unexpected(more.error());
    if (!*more) return out;
    out.push_back(read(rows));
  }
}

// … of which a row may not be readable.
template <class Record, class Read>
core::Result<std::vector<Record>> all_records(Rows rows, Read read) {
  std::vector<Record> out;
  for (;;) {
    const auto more = rows.next();
    if (!more) return tl::unexpected(more.error());
    if (!*more) return out;
    auto record = read(rows);
    if (!record) return tl::unexpected(record.error());
    out.push_back(*std::move(record));
  }
}

}  // namespace mailotp::store
