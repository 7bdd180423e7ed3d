#include "store/migrations.h"

#include <array>
#include <string>

#include <fmt/format.h>

#include "core/crash_point.h"
#include "core/snapshot.h"

namespace mailotp::store {

using core::Errc;
using core::Result;

namespace {

// Times are milliseconds since the epoch, UTC. Ids are the 16 bytes of a UUIDv7; the integer `n` beside them
// is what other rows and indexes refer to: new rows land at the right edge of every tree, and an index entry
// stays small.
//
// challenge.message and message.previous chain a challenge's messages, newest first, so that they need no
// index. message_state serves claims, what is due, and the operators' list: a message that has ended has
// due_at = never, so within an ended state the entries stand in the order of n. An event belongs to its
// challenge, or to its message when that has none: one index finds the events of both. event.seq is the
// durable cursor of the event stream: whoever deletes old events keeps the newest one, or its number would be
// given out again.
constexpr const char* k_first = R"sql(
CREATE TABLE key (
  id INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE recipient (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE challenge (
  n INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,
  recipient INTEGER NOT NULL,
  app TEXT NOT NULL,
  purpose TEXT NOT NULL,
  mailbox TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  state INTEGER NOT NULL,
  attempts_left INTEGER NOT NULL,
  sends INTEGER NOT NULL,
  max_sends INTEGER NOT NULL,
  cooldown INTEGER NOT NULL,
  usable_minimum INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  resend_at INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  message INTEGER,
  resend INTEGER NOT NULL,
  code_length INTEGER NOT NULL,
  alphabet INTEGER NOT NULL,
  template TEXT NOT NULL,
  locale TEXT,
  metadata TEXT,
  key INTEGER,
  code_mac BLOB,
  binding_mac BLOB,
  kept_code BLOB,
  data BLOB
) STRICT;
CREATE INDEX challenge_of ON challenge (recipient, app, purpose);
CREATE INDEX challenge_open ON challenge (expires_at) WHERE state <= 2;

CREATE TABLE message (
  n INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,
  challenge BLOB,
  previous INTEGER,
  current INTEGER NOT NULL,
  recipient INTEGER NOT NULL,
  app TEXT NOT NULL,
  mailbox TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  state INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  uncertain INTEGER NOT NULL,
  orphaned INTEGER NOT NULL,
  not_after INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  message_id TEXT NOT NULL,
  template TEXT NOT NULL,
  template_version TEXT NOT NULL,
  locale TEXT,
  metadata TEXT,
  relay TEXT,
  reply_code INTEGER,
  reply_status TEXT,
  reply_text TEXT,
  verdict_kind INTEGER,
  verdict_class TEXT,
  verdict_permanent INTEGER,
  verdict_status TEXT,
  verdict_detail TEXT,
  verdict_source INTEGER,
  verdict_at INTEGER
) STRICT;
CREATE INDEX message_state ON message (state, due_at);
CREATE INDEX message_recipient ON message (recipient);

CREATE TABLE message_body (
  n INTEGER PRIMARY KEY,
  key INTEGER NOT NULL,
  content BLOB NOT NULL
) STRICT;

CREATE TABLE event (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  type INTEGER NOT NULL,
  app TEXT NOT NULL,
  challenge BLOB,
  message BLOB,
  actor INTEGER NOT NULL,
  uid INTEGER NOT NULL,
  detail TEXT
) STRICT;
CREATE INDEX event_of ON event (coalesce(challenge, message));

CREATE TABLE counter (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
)sql";

// What several relays, repeats of a request, retention and a clock that is set need. ended_at: nothing more
// is planned since then; its indexes serve retention alone. relay_use counts hand-overs in slots of time, for
// rate and quota; clock remembers how the wall clock stood to the time since boot.
constexpr const char* k_second = R"sql(
ALTER TABLE message ADD COLUMN waits_for INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN tried TEXT;
ALTER TABLE message ADD COLUMN refused_by TEXT;
ALTER TABLE message ADD COLUMN ends_as INTEGER;
ALTER TABLE message ADD COLUMN on_uncertain INTEGER NOT NULL DEFAULT 0;

CREATE TABLE relay (
  name TEXT PRIMARY KEY,
  suspended INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE relay_use (
  relay TEXT NOT NULL,
  period INTEGER NOT NULL,
  slot INTEGER NOT NULL,
  used INTEGER NOT NULL,
  PRIMARY KEY (relay, period, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
  n INTEGER PRIMARY KEY,
  mac BLOB NOT NULL UNIQUE,
  at INTEGER NOT NULL,
  recipient INTEGER,
  request BLOB NOT NULL,
  key INTEGER NOT NULL,
  answer BLOB NOT NULL
) STRICT;
CREATE INDEX idempotency_recipient ON idempotency (recipient) WHERE recipient IS NOT NULL;

ALTER TABLE challenge ADD COLUMN ended_at INTEGER;
UPDATE challenge SET ended_at = expires_at WHERE state > 2;
CREATE INDEX challenge_ended ON challenge (ended_at) WHERE ended_at IS NOT NULL;
ALTER TABLE message ADD COLUMN ended_at INTEGER;
UPDATE message SET ended_at = not_after WHERE state > 4 OR due_at > 4000000000000000000;
CREATE INDEX message_ended ON message (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE clock (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  boot TEXT NOT NULL,
  offset INTEGER NOT NULL
) STRICT;
)sql";

// Bounces. `bounce` is the ledger: message is an id, since the ledger outlives the row; of what a token of a
// message has traced one event is kept. `mail` knows the mails of the bounce mailbox by place and by hash, so
// that none counts twice; `mailbox` is how far it has been read, and up to which mail moves were left over
// by the last run. A suppression of app '' is an operator's. evidence is what an app's mails
// have shown of a recipient: proven_at a right code or a success report, doubted_at a failure that says
// something of the address (hard: that it is dead).
constexpr const char* k_third = R"sql(
CREATE TABLE bounce (
  n INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  source INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  class INTEGER NOT NULL,
  permanent INTEGER,
  recipient INTEGER,
  mailbox TEXT,
  message BLOB,
  app TEXT,
  status TEXT,
  diagnostic TEXT,
  rule TEXT,
  traced_by INTEGER NOT NULL,
  weight INTEGER NOT NULL,
  uidvalidity INTEGER,
  uid INTEGER,
  hash BLOB
) STRICT;
CREATE INDEX bounce_message ON bounce (message) WHERE message IS NOT NULL;
CREATE UNIQUE INDEX bounce_event ON bounce (message, kind, class)
  WHERE message IS NOT NULL AND traced_by >= 2;
CREATE INDEX bounce_recipient ON bounce (recipient) WHERE recipient IS NOT NULL;
CREATE INDEX bounce_word ON bounce (recipient, app)
  WHERE kind = 1 AND message IS NOT NULL AND permanent IS NOT 0;

CREATE TABLE mail (
  n INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  uidvalidity INTEGER NOT NULL,
  uid INTEGER NOT NULL,
  hash BLOB,
  fate INTEGER NOT NULL,
  moved INTEGER NOT NULL,
  UNIQUE (uidvalidity, uid)
) STRICT;
CREATE INDEX mail_hash ON mail (hash) WHERE hash IS NOT NULL;
CREATE INDEX mail_to_move ON mail (uidvalidity, uid) WHERE moved = 0;

CREATE TABLE mailbox (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  uidvalidity INTEGER NOT NULL,
  after_uid INTEGER NOT NULL,
  foreign_mails INTEGER NOT NULL,
  left_until INTEGER NOT NULL
) STRICT;

CREATE TABLE suppression (
  n INTEGER PRIMARY KEY,
  recipient INTEGER NOT NULL,
  app TEXT NOT NULL,
  class INTEGER NOT NULL,
  mailbox TEXT NOT NULL,
  since INTEGER NOT NULL,
  until INTEGER NOT NULL,
  probe_at INTEGER,
  source INTEGER NOT NULL,
  times INTEGER NOT NULL,
  probe BLOB,
  check_at INTEGER,
  UNIQUE (recipient, app, class)
) STRICT;
CREATE INDEX suppression_until ON suppression (until);
CREATE INDEX suppression_check ON suppression (check_at) WHERE check_at IS NOT NULL;

CREATE TABLE evidence (
  recipient INTEGER NOT NULL,
  app TEXT NOT NULL,
  at INTEGER NOT NULL,
  proven_at INTEGER,
  doubted_at INTEGER,
  hard INTEGER NOT NULL,
  verdict_kind INTEGER,
  verdict_class TEXT,
  verdict_permanent INTEGER,
  verdict_status TEXT,
  verdict_detail TEXT,
  verdict_source INTEGER,
  verdict_at INTEGER,
  PRIMARY KEY (recipient, app)
) STRICT, WITHOUT ROWID;
CREATE INDEX evidence_at ON evidence (at);
)sql";

// Limits, keys that change, erasure. `usage` is the logs of usage.h; `brake` counts an app's sends and right
// codes in slots of time; both by even time: clock.shifted is the sum of the clock's steps. `secret` is
// sealed under the key of that id. key.retired_at: since then another key writes. The keys of a challenge are
// those of limits.h. recipient.fold: core::folded_most().
constexpr const char* k_fourth = R"sql(
CREATE TABLE usage (
  key BLOB NOT NULL,
  part INTEGER NOT NULL,
  until INTEGER NOT NULL,
  times BLOB NOT NULL,
  PRIMARY KEY (key, part)
) STRICT, WITHOUT ROWID;

CREATE TABLE brake (
  start INTEGER NOT NULL,
  app TEXT NOT NULL,
  sends INTEGER NOT NULL,
  right_codes INTEGER NOT NULL,
  PRIMARY KEY (start, app)
) STRICT, WITHOUT ROWID;

CREATE TABLE secret (
  name TEXT PRIMARY KEY,
  key INTEGER NOT NULL,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE clock ADD COLUMN shifted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key ADD COLUMN retired_at INTEGER;
ALTER TABLE challenge ADD COLUMN sends_key BLOB;
ALTER TABLE challenge ADD COLUMN network_key BLOB;
ALTER TABLE challenge ADD COLUMN device_key BLOB;

ALTER TABLE recipient ADD COLUMN fold TEXT NOT NULL DEFAULT '';
UPDATE recipient SET fold = CASE WHEN substr(key, 1, 1) = '"' THEN key ELSE
  replace(substr(key, 1, CASE WHEN instr(key, '+') BETWEEN 2 AND instr(key, '@') THEN instr(key, '+')
    ELSE instr(key, '@') END - 1), '.', '') || substr(key, instr(key, '@')) END;
CREATE INDEX recipient_fold ON recipient (fold);
)sql";

// event.recipient: of an event that has neither challenge nor message, but is of somebody: a refused request,
// an operator's suppression.
constexpr const char* k_fifth = R"sql(
ALTER TABLE event ADD COLUMN recipient INTEGER;
CREATE INDEX event_recipient ON event (recipient) WHERE recipient IS NOT NULL;
)sql";

// recipient: one index in place of two. `fold` follows from `key`, so a key is still there once; who looks
// for one gives both.
constexpr const char* k_sixth = R"sql(
CREATE TABLE recipient_once (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  fold TEXT NOT NULL,
  UNIQUE (fold, key)
) STRICT;
INSERT INTO recipient_once SELECT id, key, fold FROM recipient;
DROP TABLE recipient;
ALTER TABLE recipient_once RENAME TO recipient;
)sql";

// Of a database that is made now. A send changes some twenty pages, few octets of each, and a commit writes
// and syncs whole pages: with SQLite's 4 KiB they are 98 KB a send, with these 53. A page more for a mail's
// body is less than that; still smaller ones split too often.
constexpr const char* k_page_size = "PRAGMA page_size = 2048";

constexpr std::array k_migrations{k_first, k_second, k_third, k_fourth, k_fifth, k_sixth};

// The number of steps that the database has seen; 0 for an empty one.
Result<std::int64_t> version_of(Connection& db) {
  const auto application = db.number("PRAGMA application_id");
  const auto version = db.number("PRAGMA user_version");
  const auto objects = db.number("SELECT count(*) FROM sqlite_schema");
  if (!application) return tl::unexpected(application.error());
  if (!version) return tl::unexpected(version.error());
  if (!objects) return tl::unexpected(objects.error());
  const bool empty = *application == 0 && *version == 0 && *objects == 0;
  if (!empty && *application != core::k_database_id && *application != core::k_snapshot_id)
    return core::fail(Errc::invalid, "store: the database is not one of mailotpd");
  if (*version > static_cast<std::int64_t>(k_migrations.size()))
    return core::fail(
        Errc::unsupported,
        fmt::format("store: the database has schema {}, this program knows {}: it was written by "
                    "a newer mailotpd",
                    *version, k_migrations.size()));
  return *version;
}

// One transaction; an error may leave it open.
Result<> run_step(Connection& db, const char* statements, std::size_t version) {
  std::string begin = "BEGIN IMMEDIATE;";
  if (version == 1) begin += fmt::format("PRAGMA application_id = {};", core::k_database_id);
  if (auto begun = db.exec(begin.c_str()); !begun) return begun;
  MAILOTP_CRASH_POINT("migration_begun");
  if (auto changed = db.exec(statements); !changed) return changed;
  MAILOTP_CRASH_POINT("migration_written");
  if (auto done = db.exec(fmt::format("PRAGMA user_version = {}; COMMIT;", version).c_str()); !done)
    return done;
  MAILOTP_CRASH_POINT("migration_done");
  return {};
}

}  // namespace

std::span<const char* const> migrations() {
  return k_migrations;
}

Result<std::int64_t> known_schema(Connection& db) {
  return version_of(db);
}

Result<> migrate(Connection& db) {
  const auto version = version_of(db);
  if (!version) return tl::unexpected(version.error());
  if (*version == 0) {
    if (auto sized = db.exec(k_page_size); !sized) return sized;
  }
  for (auto i = static_cast<std::size_t>(*version); i < k_migrations.size(); ++i) {
    if (auto done = run_step(db, k_migrations[i], i + 1); !done) {
      if (db.in_transaction()) {
        if (auto undone = db.exec("ROLLBACK"); !undone) return undone;
      }
      return core::fail(done.error().code, fmt::format("store: migration {} failed", i + 1));
    }
  }
  return {};
}

Result<> check_schema(Connection& db) {
  const auto version = version_of(db);
  if (!version) return tl::unexpected(version.error());
  if (*version != static_cast<std::int64_t>(k_migrations.size()))
    return core::fail(Errc::unsupported, fmt::format("store: the database has schema {}, not {}", *version,
                                                     k_migrations.size()));
  return {};
}

}  // namespace mailotp::store
