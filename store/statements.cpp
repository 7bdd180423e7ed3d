#include "store/statements.h"

// What store/records.cpp reads, in its order.
#define CHALLENGE_COLUMNS                                                                               \
  "n, id, recipient, app, purpose, mailbox, created_at, state, attempts_left, sends, max_sends, "       \
  "cooldown, usable_minimum, expires_at, resend_at, revision, message, resend, code_length, alphabet, " \
  "template, locale, metadata, key, code_mac, binding_mac, kept_code, data, sends_key, network_key, "   \
  "device_key"
#define TIMELINE_COLUMNS                                                                       \
  "e.seq, e.at, e.type, e.app, e.challenge, e.message, e.actor, e.uid, e.detail, m.template, " \
  "m.template_version, m.locale"
#define MESSAGE_COLUMNS                                                                              \
  "n, id, challenge, previous, current, recipient, app, mailbox, created_at, kind, state, attempt, " \
  "attempts, uncertain, orphaned, not_after, due_at, revision, message_id, template, "               \
  "template_version, locale, metadata, relay, reply_code, reply_status, reply_text, verdict_kind, "  \
  "verdict_class, verdict_permanent, verdict_status, verdict_detail, verdict_source, verdict_at, "   \
  "waits_for, tried, refused_by, ends_as, on_uncertain, ended_at"
#define BOUNCE_COLUMNS                                                                                  \
  "n, at, source, kind, class, permanent, mailbox, message, app, status, diagnostic, rule, traced_by, " \
  "weight"
#define SUPPRESSION_COLUMNS \
  "n, recipient, app, class, mailbox, since, until, probe_at, source, times, probe, check_at"

namespace mailotp::store {

// cache_size: 2 MiB, so that the right edges of all trees and what is in flight stay in memory. More costs
// time: after a commit that splits a page SQLite 3.40 walks the whole cache.
const char* const k_writer_settings =
    "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY; "
    "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 33554432; PRAGMA cache_size = -2048; PRAGMA "
    "cache_spill = -16384; "
    "PRAGMA trusted_schema = OFF;";

// In the order of WriterSql.
constexpr std::array<NamedSql, k_writer_statements> k_writer_sql{{
    {"begin", "BEGIN IMMEDIATE"},
    {"commit", "COMMIT"},
    {"rollback", "ROLLBACK"},
    {"recipient_find", "SELECT id FROM recipient WHERE fold = ?1 AND key = ?2"},
    {"recipient_add", "INSERT INTO recipient (key, fold) VALUES (?1, ?2)"},
    {"recipient_forget",
     "DELETE FROM recipient WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM challenge WHERE recipient = ?1) "
     "AND NOT EXISTS (SELECT 1 FROM message WHERE recipient = ?1) "
     "AND NOT EXISTS (SELECT 1 FROM idempotency WHERE recipient = ?1) "
     "AND NOT EXISTS (SELECT 1 FROM bounce WHERE recipient = ?1) "
     "AND NOT EXISTS (SELECT 1 FROM suppression WHERE recipient = ?1) "
     "AND NOT EXISTS (SELECT 1 FROM evidence WHERE recipient = ?1) "
     "AND NOT EXISTS (SELECT 1 FROM event WHERE recipient = ?1)"},
    {"recipient_key", "SELECT key FROM recipient WHERE id = ?1"},
    {"recipient_folded", "SELECT id, key FROM recipient WHERE fold = ?1"},
    {"challenge_by_id", "SELECT " CHALLENGE_COLUMNS " FROM challenge WHERE id = ?1"},
    {"challenge_by_n", "SELECT " CHALLENGE_COLUMNS " FROM challenge WHERE n = ?1"},
    {"challenge_clock", "SELECT n, state, expires_at, revision FROM challenge WHERE id = ?1"},
    {"challenge_newest",
     "SELECT " CHALLENGE_COLUMNS " FROM challenge WHERE recipient = ?1 AND app = ?2 AND purpose = ?3 "
     "ORDER BY n DESC LIMIT 1"},
    {"challenge_add",
     "INSERT INTO challenge (id, recipient, app, purpose, mailbox, created_at, state, attempts_left, sends, "
     "max_sends, cooldown, usable_minimum, expires_at, resend_at, revision, message, resend, code_length, "
     "alphabet, template, locale, metadata, key, code_mac, binding_mac, kept_code, data, sends_key, "
     "network_key, device_key) VALUES (?1, ?2, ?3, "
     "?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, "
     "?25, ?26, ?27, ?28, ?29, ?30)"},
    {"challenge_count_attempt",
     "UPDATE challenge SET attempts_left = attempts_left - 1 WHERE n = ?1 AND state IN (1, 2) AND "
     "attempts_left > 0 AND expires_at > ?2"},
    {"challenge_save",
     "UPDATE challenge SET state = ?2, attempts_left = ?3, sends = ?4, resend_at = ?5, revision = ?6, "
     "message = ?7 WHERE n = ?1"},
    // Naming the state costs a step in its index even where it stays the same.
    {"challenge_save_same",
     "UPDATE challenge SET attempts_left = ?2, sends = ?3, resend_at = ?4, revision = ?5, message = ?6 WHERE "
     "n = ?1"},
    {"challenge_save_code", "UPDATE challenge SET code_mac = ?2 WHERE n = ?1"},
    {"challenge_end",
     "UPDATE challenge SET state = ?2, attempts_left = ?3, sends = ?4, resend_at = ?5, revision = ?6, "
     "message = ?7, ended_at = ?8, key = NULL, code_mac = NULL, binding_mac = NULL, kept_code = NULL, "
     "data = NULL "
     "WHERE n = ?1"},
    {"challenge_note", "UPDATE challenge SET revision = ?2 WHERE n = ?1"},
    {"challenge_due",
     "SELECT n FROM challenge WHERE state <= 2 AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2"},
    {"challenge_over",
     "SELECT n, state, recipient, NULL, NULL FROM challenge WHERE ended_at <= ?1 ORDER BY ended_at LIMIT ?2"},
    {"challenge_of_recipient", "SELECT n FROM challenge WHERE recipient = ?1 LIMIT ?2"},
    {"challenge_remove", "DELETE FROM challenge WHERE n = ?1"},
    {"challenge_forget_message", "UPDATE challenge SET message = NULL WHERE id = ?1 AND message = ?2"},
    {"message_by_id", "SELECT " MESSAGE_COLUMNS " FROM message WHERE id = ?1"},
    {"message_by_n", "SELECT " MESSAGE_COLUMNS " FROM message WHERE n = ?1"},
    // In the index alone: where they stand, when one of them cannot be read.
    {"message_places",
     "SELECT n, due_at FROM message WHERE state = ?1 AND (due_at, n) > (?2, ?3) AND due_at <= ?4 "
     "ORDER BY due_at, n LIMIT ?5"},
    {"message_newest", "SELECT n, state FROM message WHERE n > (SELECT max(n) FROM message) - ?1 ORDER BY n"},
    {"message_quarantine", "UPDATE message SET state = 4, due_at = ?2, revision = revision + 1 WHERE n = ?1"},
    {"message_add",
     "INSERT INTO message (id, challenge, previous, current, recipient, app, mailbox, created_at, kind, "
     "state, "
     "attempt, attempts, uncertain, orphaned, not_after, due_at, revision, message_id, template, "
     "template_version, locale, metadata, on_uncertain) VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8, ?9, 0, 0, "
     "0, 0, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)"},
    {"message_save",
     "UPDATE message SET state = ?2, attempt = ?3, attempts = ?4, uncertain = ?5, orphaned = ?6, "
     "not_after = ?7, due_at = ?8, revision = ?9, relay = ?10, reply_code = ?11, reply_status = ?12, "
     "reply_text = ?13, verdict_kind = ?14, verdict_class = ?15, verdict_permanent = ?16, "
     "verdict_status = ?17, verdict_detail = ?18, verdict_source = ?19, verdict_at = ?20, waits_for = ?21, "
     "tried = ?22, refused_by = ?23, ends_as = ?24, ended_at = coalesce(ended_at, ?25) WHERE n = ?1"},
    {"message_not_current", "UPDATE message SET current = 0 WHERE n = ?1"},
    // From one place in the order of the deadlines on: rows that no relay has a place for now are passed
    // over.
    {"message_claimable",
     "SELECT " MESSAGE_COLUMNS
     " FROM message WHERE state = 0 AND (due_at, n) > (?1, ?2) ORDER BY due_at, n LIMIT ?3"},
    {"message_due",
     "SELECT " MESSAGE_COLUMNS " FROM message WHERE state = ?1 AND due_at <= ?2 ORDER BY due_at LIMIT ?3"},
    {"message_deferred",
     "SELECT " MESSAGE_COLUMNS
     " FROM message WHERE state = 2 AND (due_at, n) > (?1, ?2) AND due_at <= ?3 ORDER BY due_at, n LIMIT ?4"},
    {"message_last_deferred", "SELECT max(due_at) FROM message WHERE state = 2"},
    {"message_sending", "SELECT " MESSAGE_COLUMNS " FROM message WHERE state = 1"},
    {"message_suspect_out", "SELECT 1 FROM message WHERE state = 1 AND orphaned >= ?1 LIMIT 1"},
    {"message_for_relay",
     "SELECT " MESSAGE_COLUMNS " FROM message WHERE state = 2 AND waits_for = 2 ORDER BY due_at LIMIT ?1"},
    {"message_any_queued", "SELECT 1 FROM message WHERE state = 0 LIMIT 1"},
    {"message_of_recipient",
     "SELECT " MESSAGE_COLUMNS " FROM message WHERE recipient = ?1 ORDER BY n DESC LIMIT ?2"},
    {"message_numbers_of_recipient", "SELECT n FROM message WHERE recipient = ?1 ORDER BY n DESC LIMIT ?2"},
    {"message_hush", "UPDATE message SET reply_text = NULL, verdict_detail = NULL WHERE n = ?1"},
    // Open ones are among the newest.
    {"message_unsent_of",
     "SELECT n FROM (SELECT n, app, state FROM message WHERE recipient = ?1 ORDER BY n DESC LIMIT ?3) WHERE "
     "state <= 4 AND (?2 = '' OR app = ?2)"},
    {"message_over",
     "SELECT n, state, recipient, challenge, id FROM message WHERE ended_at <= ?1 ORDER BY ended_at LIMIT "
     "?2"},
    {"message_remove", "DELETE FROM message WHERE n = ?1"},
    {"clock_get", "SELECT boot, offset, shifted FROM clock"},
    {"clock_set",
     "INSERT INTO clock (id, boot, offset, shifted) VALUES (1, ?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET "
     "boot = excluded.boot, offset = excluded.offset, shifted = excluded.shifted"},
    {"shift_challenges",
     "UPDATE challenge SET expires_at = expires_at + ?1, resend_at = resend_at + ?1 WHERE state <= 2 AND "
     "expires_at > 0"},
    // What waits for nothing more keeps its `never`.
    {"shift_messages",
     "UPDATE message SET not_after = not_after + ?1, due_at = CASE WHEN due_at >= ?2 THEN due_at ELSE "
     "due_at + ?1 END WHERE state <= 4"},
    // In two steps: on the way a slot must not take the place of another one.
    {"shift_relay_use", "UPDATE relay_use SET slot = -(slot + ?1 / max(period / ?2, 1))"},
    {"shift_relay_use_back", "UPDATE relay_use SET slot = -slot WHERE slot < 0"},
    {"shift_suppressions",
     "UPDATE suppression SET since = min(since, ?3 + ?1), until = CASE WHEN until >= ?2 THEN until ELSE "
     "until + ?1 END, "
     "probe_at = CASE WHEN probe_at > ?3 THEN probe_at + ?1 ELSE probe_at END, check_at = check_at + ?1 "
     "WHERE until > ?3"},
    {"relay_suspended", "SELECT name FROM relay WHERE suspended = 1"},
    {"relay_suspend",
     "INSERT INTO relay (name, suspended) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET "
     "suspended = excluded.suspended"},
    {"relay_used",
     "SELECT coalesce(sum(used), 0), min(slot) FROM relay_use WHERE relay = ?1 AND period = ?2 AND slot > "
     "?3"},
    {"relay_use",
     "INSERT INTO relay_use (relay, period, slot, used) VALUES (?1, ?2, ?3, ?4) "
     "ON CONFLICT (relay, period, slot) DO UPDATE SET used = used + excluded.used"},
    {"relay_use_old", "DELETE FROM relay_use WHERE relay = ?1 AND period = ?2 AND slot <= ?3"},
    {"body_add", "INSERT INTO message_body (n, key, content) VALUES (?1, ?2, ?3)"},
    {"body_get", "SELECT key, content FROM message_body WHERE n = ?1"},
    {"body_erase", "DELETE FROM message_body WHERE n = ?1"},
    {"event_add",
     "INSERT INTO event (at, type, app, challenge, message, actor, uid, detail, recipient) VALUES (?1, ?2, "
     "?3, "
     "?4, ?5, ?6, ?7, ?8, ?9)"},
    {"event_first", "SELECT seq, at, recipient FROM event WHERE seq > 0 ORDER BY seq LIMIT ?1"},
    // Never the newest one: its number would be given out again.
    {"event_remove", "DELETE FROM event WHERE seq <= ?1 AND seq < (SELECT max(seq) FROM event)"},
    {"event_hush",
     "UPDATE event SET detail = NULL WHERE coalesce(challenge, message) = ?1 AND message IS NOT NULL AND "
     "detail IS NOT NULL"},
    {"event_forget", "UPDATE event SET recipient = NULL, detail = NULL WHERE recipient = ?1"},
    {"counter_add",
     "INSERT INTO counter (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET "
     "value = value + excluded.value"},
    {"counter_all", "SELECT name, value FROM counter"},
    {"counter_get", "SELECT value FROM counter WHERE name = ?1"},
    {"counter_forget", "DELETE FROM counter WHERE name = ?1"},
    // Not the messages in `sending`: their next news is a fact.
    {"next_due",
     "SELECT min(at) FROM (SELECT min(expires_at) AS at FROM challenge WHERE state <= 2 "
     "UNION ALL SELECT min(due_at) FROM message WHERE state = 0 "
     "UNION ALL SELECT min(due_at) FROM message WHERE state = 2 "
     "UNION ALL SELECT min(due_at) FROM message WHERE state = 3 "
     "UNION ALL SELECT min(due_at) FROM message WHERE state = 4 "
     "UNION ALL SELECT min(check_at) FROM suppression WHERE check_at > 0)"},
    {"once_find", "SELECT n, at, request, answer FROM idempotency WHERE mac = ?1"},
    {"once_forget", "DELETE FROM idempotency WHERE mac = ?1"},
    {"once_add",
     "INSERT INTO idempotency (mac, at, recipient, request, key, answer) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"},
    {"once_of_recipient", "SELECT n FROM idempotency WHERE recipient = ?1 LIMIT ?2"},
    {"once_erase", "DELETE FROM idempotency WHERE n = ?1"},
    {"once_first", "SELECT n, at, recipient FROM idempotency WHERE n > 0 ORDER BY n LIMIT ?1"},
    {"once_remove", "DELETE FROM idempotency WHERE n <= ?1"},
    {"bounce_add",
     "INSERT INTO bounce (at, source, kind, class, permanent, recipient, mailbox, message, app, status, "
     "diagnostic, rule, traced_by, weight, uidvalidity, uid, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, "
     "?9, "
     "?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)"},
    {"bounce_event", "SELECT " BOUNCE_COLUMNS
                     " FROM bounce WHERE message = ?1 AND kind = ?2 AND class = ?3 AND traced_by >= 2"},
    // What the far side itself called temporary is no word about the address.
    {"bounce_history",
     "SELECT at, source, class FROM bounce WHERE recipient = ?1 AND app = ?2 AND kind = 1 AND message IS NOT "
     "NULL AND permanent IS NOT 0 AND at > ?3 ORDER BY n DESC LIMIT ?4"},
    {"bounce_of_recipient", "SELECT n FROM bounce WHERE recipient = ?1 LIMIT ?2"},
    {"bounce_erase", "DELETE FROM bounce WHERE n = ?1"},
    {"bounce_walk",
     "SELECT n, mailbox, diagnostic, recipient, message FROM bounce WHERE n > ?1 ORDER BY n LIMIT ?2"},
    {"bounce_hush", "UPDATE bounce SET mailbox = NULL, diagnostic = NULL WHERE n = ?1"},
    {"bounce_first", "SELECT n, at, recipient FROM bounce WHERE n > 0 ORDER BY n LIMIT ?1"},
    {"bounce_remove", "DELETE FROM bounce WHERE n <= ?1"},
    {"mail_at", "SELECT n, hash, fate, moved FROM mail WHERE uidvalidity = ?1 AND uid = ?2"},
    {"mail_of_hash", "SELECT fate FROM mail WHERE hash = ?1 LIMIT 1"},
    {"mail_add", "INSERT INTO mail (at, uidvalidity, uid, hash, fate, moved) VALUES (?1, ?2, ?3, ?4, ?5, 0)"},
    {"mail_again", "UPDATE mail SET moved = 0 WHERE n = ?1"},
    // It keeps its hash, under a place that no mailbox has.
    {"mail_displaced", "UPDATE mail SET uidvalidity = 0, uid = -n, moved = 1 WHERE n = ?1"},
    {"mail_moved", "UPDATE mail SET moved = 1 WHERE uidvalidity = ?1 AND uid = ?2"},
    {"mail_gone", "UPDATE mail SET moved = 1 WHERE moved = 0 AND uidvalidity = ?1"},
    {"mail_to_move",
     "SELECT uid, fate FROM mail WHERE moved = 0 AND uidvalidity = ?1 AND uid <= ?2 ORDER BY uid LIMIT ?3"},
    {"mail_first", "SELECT n, at, NULL FROM mail WHERE n > 0 ORDER BY n LIMIT ?1"},
    {"mail_remove_old", "DELETE FROM mail WHERE n <= ?1"},
    {"mailbox_get", "SELECT uidvalidity, after_uid, foreign_mails, left_until FROM mailbox WHERE id = 1"},
    {"mailbox_open",
     "INSERT INTO mailbox (id, uidvalidity, after_uid, foreign_mails, left_until) VALUES (1, ?1, 0, 0, 0) "
     "ON CONFLICT (id) DO UPDATE SET uidvalidity = excluded.uidvalidity, after_uid = 0, foreign_mails = 0, "
     "left_until = 0"},
    {"mailbox_read",
     "UPDATE mailbox SET after_uid = max(after_uid, ?2), "
     "foreign_mails = foreign_mails + CASE WHEN ?2 > after_uid THEN ?3 ELSE 0 END "
     "WHERE id = 1 AND uidvalidity = ?1"},
    {"mailbox_left", "UPDATE mailbox SET left_until = ?1 WHERE id = 1"},
    // Not `app IN`: SQLite makes a whole temporary database for the list.
    {"suppression_in_force",
     "SELECT " SUPPRESSION_COLUMNS
     " FROM suppression WHERE recipient = ?1 AND (app = ?2 OR app = '') AND until > ?3"},
    {"suppression_of",
     "SELECT " SUPPRESSION_COLUMNS " FROM suppression WHERE recipient = ?1 AND app = ?2 AND class = ?3"},
    {"suppression_save",
     "INSERT INTO suppression (recipient, app, class, mailbox, since, until, probe_at, source, times) VALUES "
     "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (recipient, app, class) DO UPDATE SET "
     "mailbox = excluded.mailbox, since = excluded.since, until = excluded.until, "
     "probe_at = excluded.probe_at, source = excluded.source, times = excluded.times, probe = NULL, "
     "check_at = NULL"},
    {"suppression_probed", "UPDATE suppression SET probe_at = ?2, probe = ?3, check_at = ?4 WHERE n = ?1"},
    {"suppression_check",
     "UPDATE suppression SET check_at = ?2, probe = CASE WHEN ?2 IS NULL THEN NULL ELSE probe END WHERE n = "
     "?1"},
    {"suppression_due",
     "SELECT " SUPPRESSION_COLUMNS " FROM suppression WHERE check_at <= ?1 ORDER BY check_at LIMIT ?2"},
    {"suppression_heal", "DELETE FROM suppression WHERE recipient = ?1 AND app = ?2"},
    {"suppression_drop", "DELETE FROM suppression WHERE recipient = ?1"},
    // One whose probe is being awaited is still needed.
    {"suppression_over",
     "SELECT n, recipient FROM suppression WHERE until <= ?1 AND check_at IS NULL ORDER BY until LIMIT ?2"},
    {"suppression_remove", "DELETE FROM suppression WHERE n = ?1"},
    {"evidence_proven",
     "INSERT INTO evidence (recipient, app, at, proven_at, hard) VALUES (?1, ?2, ?3, ?3, 0) ON CONFLICT "
     "(recipient, app) DO UPDATE SET at = excluded.at, proven_at = excluded.proven_at, hard = 0"},
    {"evidence_verdict",
     "INSERT INTO evidence (recipient, app, at, doubted_at, hard, verdict_kind, verdict_class, "
     "verdict_permanent, verdict_status, verdict_detail, verdict_source, verdict_at) VALUES (?1, ?2, ?3, ?4, "
     "?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT (recipient, app) DO UPDATE SET at = excluded.at, "
     "doubted_at = coalesce(excluded.doubted_at, doubted_at), "
     "hard = CASE WHEN excluded.doubted_at IS NULL THEN hard ELSE excluded.hard END, "
     "verdict_kind = excluded.verdict_kind, verdict_class = excluded.verdict_class, "
     "verdict_permanent = excluded.verdict_permanent, verdict_status = excluded.verdict_status, "
     "verdict_detail = excluded.verdict_detail, verdict_source = excluded.verdict_source, "
     "verdict_at = excluded.verdict_at"},
    {"evidence_soften", "UPDATE evidence SET hard = 0 WHERE recipient = ?1 AND (?2 = '' OR app = ?2)"},
    {"evidence_over", "SELECT recipient, app FROM evidence WHERE at <= ?1 ORDER BY at LIMIT ?2"},
    {"evidence_remove", "DELETE FROM evidence WHERE recipient = ?1 AND app = ?2"},
    {"evidence_erase", "DELETE FROM evidence WHERE recipient = ?1"},
    {"evidence_hush", "UPDATE evidence SET verdict_detail = NULL WHERE recipient = ?1"},
    {"usage_newest", "SELECT part, times FROM usage WHERE key = ?1 ORDER BY part DESC LIMIT 1"},
    {"usage_part", "SELECT part, times FROM usage WHERE key = ?1 AND part = ?2"},
    {"usage_save",
     "INSERT INTO usage (key, part, until, times) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key, part) DO UPDATE "
     "SET until = max(until, excluded.until), times = excluded.times"},
    {"usage_trim", "DELETE FROM usage WHERE key = ?1 AND part <= ?2"},
    {"usage_walk",
     "SELECT key, part, until FROM usage WHERE (key, part) > (?1, ?2) ORDER BY key, part LIMIT ?3"},
    {"usage_remove", "DELETE FROM usage WHERE key = ?1 AND part = ?2"},
    {"brake_all", "SELECT app, start, sends, right_codes FROM brake"},
    {"brake_add",
     "INSERT INTO brake (app, start, sends, right_codes) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (start, app) DO "
     "UPDATE SET sends = sends + excluded.sends, right_codes = right_codes + excluded.right_codes"},
    {"brake_forget", "DELETE FROM brake WHERE start < ?1"},
    {"secret_get", "SELECT key, value FROM secret WHERE name = ?1"},
    {"secret_set",
     "INSERT INTO secret (name, key, value) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE SET "
     "key = excluded.key, value = excluded.value"},
    {"key_all", "SELECT id FROM key"},
    {"key_add",
     "INSERT INTO key (id) VALUES (?1) ON CONFLICT (id) DO UPDATE SET retired_at = NULL WHERE retired_at IS "
     "NOT NULL"},
    {"key_retire", "UPDATE key SET retired_at = ?2 WHERE id <> ?1 AND retired_at IS NULL"},
    {"key_forget", "DELETE FROM key WHERE id = ?1"},
    {"key_of_open_challenge",
     "SELECT 1 FROM challenge INDEXED BY challenge_open WHERE state <= 2 AND expires_at > 0 AND key = ?1 "
     "LIMIT 1"},
    {"key_of_body",
     "SELECT 1 FROM message m JOIN message_body b ON b.n = m.n WHERE m.state <= 4 AND b.key = ?1 LIMIT 1"},
}};

// In the order of ReaderSql.
constexpr std::array<NamedSql, k_reader_statements> k_reader_sql{{
    {"begin", "BEGIN"},
    {"end", "COMMIT"},
    {"challenge_by_id", "SELECT " CHALLENGE_COLUMNS " FROM challenge WHERE id = ?1"},
    {"message_by_id", "SELECT " MESSAGE_COLUMNS " FROM message WHERE id = ?1"},
    {"message_by_n", "SELECT " MESSAGE_COLUMNS " FROM message WHERE n = ?1"},
    {"recipient_find", "SELECT id FROM recipient WHERE fold = ?1 AND key = ?2"},
    {"outbox_newest", "SELECT " MESSAGE_COLUMNS " FROM message WHERE n < ?1 ORDER BY n DESC LIMIT ?2"},
    // The newest of a state that has few are found and sorted in the index alone; only their rows are then
    // read.
    {"outbox_of_state",
     "SELECT " MESSAGE_COLUMNS
     " FROM message WHERE n IN (SELECT n FROM message WHERE state = ?3 AND n < ?1 ORDER BY n DESC LIMIT ?2) "
     "ORDER BY n DESC"},
    // What has ended has due_at = never: in the index these stand in the order of n.
    {"outbox_of_ended", "SELECT " MESSAGE_COLUMNS
                        " FROM message WHERE state = ?3 AND due_at = ?4 AND n < ?1 ORDER BY n DESC LIMIT ?2"},
    {"outbox_of_recipient",
     "SELECT " MESSAGE_COLUMNS " FROM message WHERE recipient = ?3 AND n < ?1 ORDER BY n DESC LIMIT ?2"},
    {"events_of",
     "SELECT seq, at, type, app, challenge, message, actor, uid, detail FROM event "
     "WHERE coalesce(challenge, message) = ?1 ORDER BY seq"},
    {"counter_all", "SELECT name, value FROM counter"},
    {"counter_get", "SELECT value FROM counter WHERE name = ?1"},
    // Of those whose deadlines come first.
    {"oldest_of_state",
     "SELECT created_at FROM message WHERE n = (SELECT min(n) FROM (SELECT n FROM message WHERE state = ?1 "
     "ORDER BY due_at LIMIT ?2))"},
    {"bounces_newest", "SELECT " BOUNCE_COLUMNS " FROM bounce WHERE n < ?1 ORDER BY n DESC LIMIT ?2"},
    {"bounces_of_recipient",
     "SELECT " BOUNCE_COLUMNS " FROM bounce WHERE recipient = ?3 AND n < ?1 ORDER BY n DESC LIMIT ?2"},
    {"bounces_of_message",
     "SELECT " BOUNCE_COLUMNS " FROM bounce WHERE message = ?3 AND n < ?1 ORDER BY n DESC LIMIT ?2"},
    {"suppressions_newest",
     "SELECT " SUPPRESSION_COLUMNS " FROM suppression WHERE n < ?1 ORDER BY n DESC LIMIT ?2"},
    {"suppressions_of_recipient",
     "SELECT " SUPPRESSION_COLUMNS
     " FROM suppression WHERE recipient = ?3 AND n < ?1 ORDER BY n DESC LIMIT ?2"},
    {"evidence_of",
     "SELECT app, proven_at, doubted_at, hard, verdict_kind, verdict_class, verdict_permanent, "
     "verdict_status, "
     "verdict_detail, verdict_source, verdict_at FROM evidence WHERE recipient = ?1"},
    {"clock_shifted", "SELECT shifted FROM clock"},
    {"usage_newest", "SELECT part, times FROM usage WHERE key = ?1 ORDER BY part DESC LIMIT 1"},
    {"usage_part", "SELECT part, times FROM usage WHERE key = ?1 AND part = ?2"},
    {"events_after",
     "SELECT seq, at, type, app, challenge, message, actor, uid, detail FROM event WHERE seq > ?1 ORDER BY "
     "seq LIMIT ?2"},
    {"event_newest", "SELECT max(seq) FROM event"},
    {"timeline_of", "SELECT " TIMELINE_COLUMNS " FROM event e LEFT JOIN message m ON m.id = e.message "
                    "WHERE coalesce(e.challenge, e.message) = ?3 AND e.seq > ?1 ORDER BY e.seq LIMIT ?2"},
    // Few events have a recipient of their own: all others are found through the rows that have one.
    {"timeline_of_recipient",
     "SELECT " TIMELINE_COLUMNS " FROM event e LEFT JOIN message m ON m.id = e.message WHERE e.seq IN ("
     "SELECT seq FROM event WHERE recipient = ?3 AND seq > ?1 UNION ALL "
     "SELECT seq FROM event WHERE coalesce(challenge, message) IN ("
     "SELECT id FROM challenge WHERE recipient = ?3 UNION "
     "SELECT coalesce(challenge, id) FROM message WHERE recipient = ?3) AND seq > ?1) "
     "ORDER BY e.seq LIMIT ?2"},
    {"key_all", "SELECT id, retired_at FROM key"},
    {"key_of_open_challenge",
     "SELECT 1 FROM challenge INDEXED BY challenge_open WHERE state <= 2 AND expires_at > 0 AND key = ?1 "
     "LIMIT 1"},
    {"key_of_body",
     "SELECT 1 FROM message m JOIN message_body b ON b.n = m.n WHERE m.state <= 4 AND b.key = ?1 LIMIT 1"},
}};

}  // namespace mailotp::store
