#include "bench/store_plain.h"

#include <array>
#include <functional>
#include <iterator>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <sqlite3.h>

#include "core/challenge.h"
#include "core/limits.h"
#include "core/outbox.h"
#include "store/counters.h"
#include "store/events.h"
#include "store/start_files.h"
#include "store/statements.h"
#include "store/wal.h"

namespace mailotp::bench {

using core::Result;
using store::Counters;
using store::WriterSql;

namespace {

struct Bytes {
  std::string_view bytes;
};
constexpr std::nullptr_t k_null = nullptr;

// As long as those of the store.
constexpr std::string_view k_message_id = "<0190b5a0-7c1e-7e3a-9f00-0123456789ab@otp.example.org>";
constexpr std::string_view k_reply = "Ok: queued as 4F1A2B3C4D";
constexpr std::string_view k_relayed =
    R"({"attempt":1,"relay":"primary","reply":"250 2.0.0 Ok: queued as 4F1A2B3C4D"})";
constexpr std::size_t k_sealing = 28;  // bytes that a seal adds
constexpr std::int64_t k_key = 3'123'456'789;
constexpr core::Millis k_brake_slot{12'000};
constexpr std::size_t k_times = 128;  // bytes of a part of a limit's log, on average

std::string_view bytes_of(const core::Id& id) {
  return {reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()};
}

class Statements {
 public:
  explicit Statements(sqlite3* db) : db_(db) {}
  ~Statements() {
    for (sqlite3_stmt* statement : prepared_)
      (void)sqlite3_finalize(statement);
  }
  Statements(const Statements&) = delete;
  Statements& operator=(const Statements&) = delete;

  template <class... Args>
  Result<> run(WriterSql name, const Args&... args) {
    auto statement = bound(name, args...);
    if (!statement) return tl::unexpected(statement.error());
    const int code = sqlite3_step(*statement);
    if (code != SQLITE_DONE) return failed(name);
    return sqlite3_reset(*statement) == SQLITE_OK ? Result<>{} : failed(name);
  }

  // The first column of the first row.
  template <class... Args>
  Result<std::int64_t> number(WriterSql name, const Args&... args) {
    auto statement = bound(name, args...);
    if (!statement) return tl::unexpected(statement.error());
    if (sqlite3_step(*statement) != SQLITE_ROW) return tl::unexpected(failed(name).error());
    const std::int64_t found = sqlite3_column_int64(*statement, 0);
    (void)sqlite3_reset(*statement);  // what it says was said by the step
    return found;
  }

 private:
  template <class... Args>
  Result<sqlite3_stmt*> bound(WriterSql name, const Args&... args) {
    auto statement = prepared(name, sizeof...(args));
    if (!statement) return statement;
    int at = 0;
    const bool good = (... && (bind(*statement, ++at, args) == SQLITE_OK));
    if (!good) return tl::unexpected(failed(name).error());
    return statement;
  }

  Result<sqlite3_stmt*> prepared(WriterSql name, std::size_t values) {
    const auto place = static_cast<std::size_t>(name);
    sqlite3_stmt*& kept = prepared_[place];
    if (kept != nullptr) return kept;
    const store::NamedSql& sql = store::k_writer_sql[place];
    if (sqlite3_prepare_v3(db_, sql.text, -1, SQLITE_PREPARE_PERSISTENT, &kept, nullptr) != SQLITE_OK)
      return tl::unexpected(failed(name).error());
    const int wanted = sqlite3_bind_parameter_count(kept);
    if (std::cmp_equal(wanted, values)) return kept;
    return core::fail(
        core::Errc::unsupported,
        fmt::format("{} takes {} values and gets {}: bench/store_plain.cpp is older than the store", sql.name,
                    wanted, values));
  }

  Result<> failed(WriterSql name) {
    return core::fail(
        core::Errc::io,
        fmt::format("{}: {}", store::k_writer_sql[static_cast<std::size_t>(name)].name, sqlite3_errmsg(db_)));
  }

  static int bind(sqlite3_stmt* s, int at, std::int64_t value) { return sqlite3_bind_int64(s, at, value); }
  static int bind(sqlite3_stmt* s, int at, int value) { return sqlite3_bind_int(s, at, value); }
  static int bind(sqlite3_stmt* s, int at, core::WallTime value) {
    return sqlite3_bind_int64(s, at, core::to_unix_ms(value));
  }
  static int bind(sqlite3_stmt* s, int at, std::nullptr_t) { return sqlite3_bind_null(s, at); }
  static int bind(sqlite3_stmt* s, int at, std::string_view text) {
    return sqlite3_bind_text64(s, at, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
  }
  static int bind(sqlite3_stmt* s, int at, const core::Id& id) { return bind(s, at, Bytes{bytes_of(id)}); }
  static int bind(sqlite3_stmt* s, int at, const Bytes& value) {
    return sqlite3_bind_blob64(s, at, value.bytes.data(), value.bytes.size(), SQLITE_STATIC);
  }

  sqlite3* db_;
  std::array<sqlite3_stmt*, store::k_writer_statements> prepared_{};
};

// A send that waits for the relay.
struct Row {
  Send send;
  std::int64_t challenge = 0;
  std::int64_t message = 0;
  core::WallTime not_after;
};

class Plain final : public SendWriter {
 public:
  explicit Plain(store::Connection db) : db_(std::move(db)), sql_(db_.raw()), log_(db_.raw()) {}

  Result<> turn(std::vector<Send> sends, core::WallTime now) override {
    const Stopwatch watch(spent_);
    if (auto done = sql_.run(WriterSql::begin); !done) return done;
    std::vector<Row> made;
    made.reserve(sends.size());
    for (Send& send : sends) {
      auto row = create(std::move(send), now);
      if (!row) return tl::unexpected(row.error());
      made.push_back(*std::move(row));
    }
    for (const Row& row : claimed_) {
      if (auto done = settle(row, now); !done) return done;
    }
    for (const Row& row : made) {
      if (auto done = claim(row, now); !done) return done;
    }
    if (auto done = count(std::ssize(made), std::ssize(claimed_), now); !done) return done;
    if (auto done = sql_.run(WriterSql::commit); !done) return done;
    claimed_ = std::move(made);
    return log_.bound(store::Wal::After::requests);
  }

 private:
  Result<std::int64_t> recipient(const Send& send) {
    const std::string key = send.recipient.key();
    const std::string fold = core::folded_most(send.recipient);
    if (send.known) return sql_.number(WriterSql::recipient_find, fold, key);
    if (auto added = sql_.run(WriterSql::recipient_add, key, fold); !added)
      return tl::unexpected(added.error());
    return sqlite3_last_insert_rowid(db_.raw());
  }

  // Without a message, without a detail: NULL.
  Result<> event(int type, const core::Id& challenge, const core::Id* message, std::string_view detail,
                 core::WallTime now) {
    const Bytes of_message{message != nullptr ? bytes_of(*message) : std::string_view{}};
    return sql_.run(WriterSql::event_add, now, type, std::string_view{k_app}, challenge, of_message, 0, 1000,
                    detail, k_null);
  }

  Result<Row> create(Send send, core::WallTime now) {
    const auto to = recipient(send);
    if (!to) return tl::unexpected(to.error());
    Row row{std::move(send), 0, 0, now + k_life - core::Seconds{60}};
    const Send& s = row.send;
    const std::string mailbox = s.recipient.mailbox();
    if (auto done = event(static_cast<int>(store::ChallengeNews::created), s.challenge, nullptr, {}, now);
        !done)
      return tl::unexpected(done.error());
    auto done = sql_.run(WriterSql::message_add, s.message, s.challenge, k_null, *to, std::string_view{k_app},
                         mailbox, now, static_cast<int>(core::MessageKind::otp),
                         static_cast<int>(core::MessageState::queued), row.not_after, row.not_after, 0,
                         k_message_id, std::string_view{"otp"}, std::string_view{"0123456789abcdef"},
                         std::string_view{"en"}, k_null, 0);
    if (!done) return tl::unexpected(done.error());
    row.message = sqlite3_last_insert_rowid(db_.raw());
    if (done = sql_.run(WriterSql::body_add, row.message, k_key, Bytes{body_}); !done)
      return tl::unexpected(done.error());
    if (done = event(message_event(core::MessageState::queued), s.challenge, &s.message, {}, now); !done)
      return tl::unexpected(done.error());
    const Bytes limit{std::string_view(mac_).substr(0, 16)};
    done = sql_.run(
        WriterSql::challenge_add, s.challenge, *to, std::string_view{k_app}, std::string_view{k_purpose},
        mailbox, now, static_cast<int>(core::ChallengeState::otp_sent), 5, 1, 5, 30'000, 60'000, now + k_life,
        now + core::Seconds{30}, 1, row.message, 0, 6, 0, std::string_view{"otp"}, std::string_view{"en"},
        k_null, k_key, Bytes{mac_}, k_null, Bytes{kept_}, Bytes{kept_}, limit, k_null, k_null);
    if (!done) return tl::unexpected(done.error());
    row.challenge = sqlite3_last_insert_rowid(db_.raw());
    if (done = use(s, now); !done) return tl::unexpected(done.error());
    return row;
  }

  // One part of the log of its recipient.
  Result<> use(const Send& send, core::WallTime now) {
    // Spread as hashes are.
    const std::size_t hash = std::hash<std::string>{}(send.recipient.local);
    std::array<std::size_t, 2> key{hash, ~hash};
    const Bytes name{{reinterpret_cast<const char*>(key.data()), sizeof key}};
    const std::string_view times =
        send.known ? std::string_view(times_) : std::string_view(times_).substr(0, 8);
    return sql_.run(WriterSql::usage_save, name, 0, now + core::Seconds{3600}, Bytes{times});
  }

  Result<> claim(const Row& row, core::WallTime now) {
    return save(row, core::MessageState::sending, 0, now, 0, k_null, k_null, k_null, k_null);
  }

  Result<> settle(const Row& row, core::WallTime now) {
    const Send& s = row.send;
    if (auto done = save(row, core::MessageState::relayed, 1, core::k_never, 1, 250,
                         std::string_view{"2.0.0"}, k_reply, now);
        !done)
      return done;
    if (auto done = sql_.run(WriterSql::body_erase, row.message); !done) return done;
    if (auto done =
            event(message_event(core::MessageState::relayed), s.challenge, &s.message, k_relayed, now);
        !done)
      return done;
    return sql_.run(WriterSql::challenge_note, row.challenge, 2);
  }

  template <class Code, class Status, class Text, class Ended>
  Result<> save(const Row& row, core::MessageState state, int attempts, core::WallTime due, int revision,
                const Code& code, const Status& status, const Text& text, const Ended& ended) {
    return sql_.run(WriterSql::message_save, row.message, static_cast<int>(state), 1, attempts, 0, 0,
                    row.not_after, due, revision, std::string_view{"primary"}, code, status, text, k_null,
                    k_null, k_null, k_null, k_null, k_null, k_null, 0, k_null, k_null, k_null, ended);
  }

  // What is counted once a transaction.
  Result<> count(std::int64_t made, std::int64_t settled, core::WallTime now) {
    const std::int64_t slot = core::to_unix_ms(now) / k_brake_slot.count() * k_brake_slot.count();
    if (made > 0) {
      if (auto done = sql_.run(WriterSql::brake_add, std::string_view{k_app}, slot, made, 0); !done)
        return done;
    }
    const std::array<std::pair<std::size_t, std::int64_t>, 5> counters{{
        {Counters::k_accepted, made},
        {Counters::challenges(core::ChallengeState::otp_sent), made},
        {Counters::messages(core::MessageState::sending), made - settled},
        {Counters::messages(core::MessageState::relayed), settled},
        {Counters::ended(core::MessageState::relayed), settled},
    }};
    for (const auto& [counter, more] : counters) {
      if (more == 0) continue;
      if (auto done = sql_.run(WriterSql::counter_add, Counters::name(counter), more); !done) return done;
    }
    return {};
  }

  static int message_event(core::MessageState state) {
    return store::k_message_event + static_cast<int>(state);
  }

  store::Connection db_;
  Statements sql_;
  store::Wal log_;
  std::vector<Row> claimed_;
  std::string body_ = std::string(k_body_size + k_sealing, 'm');
  std::string kept_ = std::string(6 + k_sealing, 'k');
  std::string mac_ = std::string(32, 'h');
  std::string times_ = std::string(k_times, 't');
};

}  // namespace

Result<std::unique_ptr<SendWriter>> open_plain(const std::string& folder) {
  auto db = store::Connection::open(store::database_in(folder), store::Connection::Access::read_write);
  if (!db) return tl::unexpected(db.error());
  if (auto wal = db->exec("PRAGMA journal_mode = WAL"); !wal) return tl::unexpected(wal.error());
  if (auto set = db->exec(store::k_writer_settings); !set) return tl::unexpected(set.error());
  return std::make_unique<Plain>(*std::move(db));
}

}  // namespace mailotp::bench
