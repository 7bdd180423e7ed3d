#include "store/sqlite_reader.h"

#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "store/counters.h"
#include "store/events.h"
#include "store/migrations.h"
#include "store/records.h"
#include "store/statements.h"

namespace mailotp::store {

using core::Errc;
using core::MessageState;
using core::Result;

namespace {

constexpr int k_max_page = 500;
// Messages that one call looks at when a filter has no index of its own.
constexpr int k_max_looked_at = 10'000;

// A cursor is the row number of the last message looked at.
Result<std::int64_t> parse_cursor(const std::string& cursor) {
  if (cursor.empty()) return std::numeric_limits<std::int64_t>::max();
  std::int64_t n = 0;
  const char* end = cursor.data() + cursor.size();
  const auto [stop, error] = std::from_chars(cursor.data(), end, n, 16);
  if (error != std::errc{} || stop != end || n <= 0)
    return core::fail(Errc::malformed, "the cursor is not one that we gave");
  return n;
}

Result<core::EventView> read_event(const Rows& rows) {
  auto type = event_type_name(rows.integer(2));
  if (!type) return tl::unexpected(type.error());
  core::EventView event;
  event.seq = rows.integer(0);
  event.at = rows.time(1);
  event.type = *std::move(type);
  event.app = rows.text(3);
  event.challenge = rows.id(4);
  event.message = rows.id(5);
  event.actor.kind = static_cast<core::ActorKind>(rows.integer(6));
  event.actor.uid = static_cast<std::uint32_t>(rows.integer(7));
  event.detail = rows.text(8);
  return event;
}

bool passes(const core::OutboxFilter& filter, const MessageRecord& m) {
  return (!filter.state || *filter.state == m.row.state) && (filter.app.empty() || filter.app == m.app) &&
         (filter.relay.empty() || filter.relay == m.row.relay);
}

}  // namespace

struct SqliteReader::State {
  Connection db;
  Prepared<ReaderSql, k_reader_statements> sql;

  // Several statements that must see the same moment.
  template <class T, class Body>
  Result<T> at_one_moment(Body&& body) {
    if (auto begun = sql[ReaderSql::begin].run(); !begun) return tl::unexpected(begun.error());
    Result<T> result = body();
    if (auto ended = sql[ReaderSql::end].run(); !ended) return tl::unexpected(ended.error());
    return result;
  }

  Result<MessageRecord> message(const std::string& app, const core::Id& id) {
    Rows rows = sql[ReaderSql::message_by_id].select(id);
    const auto found = rows.next();
    if (!found) return tl::unexpected(found.error());
    if (!*found) return core::fail(Errc::not_found, "no such message");
    auto m = read_message(rows);
    if (m && !app.empty() && m->app != app) return core::fail(Errc::not_found, "no such message");
    return m;
  }

  Result<core::ChallengeView> challenge(const std::string& app, const core::Id& id) {
    Rows rows = sql[ReaderSql::challenge_by_id].select(id);
    const auto found = rows.next();
    if (!found) return tl::unexpected(found.error());
    if (!*found) return core::fail(Errc::not_found, "no such challenge");
    const auto c = read_challenge(rows);
    if (!c) return tl::unexpected(c.error());
    if (!app.empty() && c->app != app) return core::fail(Errc::not_found, "no such challenge");
    if (!c->message) return view_of(*c, std::nullopt);
    Rows messages = sql[ReaderSql::message_by_n].select(*c->message);
    const auto has_message = messages.next();
    if (!has_message) return tl::unexpected(has_message.error());
    if (!*has_message) return view_of(*c, std::nullopt);
    auto m = read_message(messages);
    if (!m) return tl::unexpected(m.error());
    return view_of(*c, *std::move(m));
  }

  Result<std::vector<core::EventView>> events_of(const MessageRecord& m) {
    std::vector<core::EventView> out;
    Rows rows = sql[ReaderSql::events_of].select(m.challenge.value_or(m.id));
    for (;;) {
      const auto more = rows.next();
      if (!more) return tl::unexpected(more.error());
      if (!*more) return out;
      auto event = read_event(rows);
      if (!event) return tl::unexpected(event.error());
      // Those of the challenge itself belong to each of its messages.
      if (!event->message || *event->message == m.id) out.push_back(*std::move(event));
    }
  }

  // Absent: nobody has ever been sent anything there.
  Result<std::optional<std::int64_t>> recipient(const std::string& mailbox) {
    const auto address = core::parse_address(mailbox);
    if (!address) return tl::unexpected(address.error());
    Rows rows = sql[ReaderSql::recipient_find].select(address->key());
    const auto found = rows.next();
    if (!found) return tl::unexpected(found.error());
    if (!*found) return std::optional<std::int64_t>{};
    return std::optional(rows.integer(0));
  }

  // One row more than the page tells whether there is a next one.
  Result<core::PageOf<core::MessageView>> page_from(Rows rows, int looked_at_most,
                                                    const core::OutboxFilter& filter, int limit) {
    core::PageOf<core::MessageView> out;
    std::int64_t last = 0;
    for (int looked = 0;; ++looked) {
      const auto more = rows.next();
      if (!more) return tl::unexpected(more.error());
      if (!*more) return out;
      if (looked == looked_at_most || std::cmp_equal(out.items.size(), limit)) break;
      const auto m = read_message(rows);
      if (!m) return tl::unexpected(m.error());
      last = m->n;
      if (passes(filter, *m)) out.items.push_back(view_of(*m));
    }
    out.next_cursor = fmt::format("{:x}", last);
    return out;
  }
};

SqliteReader::SqliteReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
SqliteReader::~SqliteReader() = default;

Result<std::unique_ptr<SqliteReader>> SqliteReader::open(const std::string& state_dir) {
  auto db = Connection::open(state_dir + "/mailotpd.db", Connection::Access::read_only);
  if (!db) return tl::unexpected(db.error());
  if (auto known = check_schema(*db); !known) return tl::unexpected(known.error());
  if (auto set = db->exec("PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;");
      !set)
    return tl::unexpected(set.error());
  auto sql = Prepared<ReaderSql, k_reader_statements>::prepare(*db, k_reader_sql);
  if (!sql) return tl::unexpected(sql.error());
  return std::unique_ptr<SqliteReader>(
      new SqliteReader(std::unique_ptr<State>(new State{*std::move(db), *std::move(sql)})));
}

Result<core::ChallengeView> SqliteReader::challenge(const std::string& app, const core::Id& id) {
  return state_->at_one_moment<core::ChallengeView>([&] { return state_->challenge(app, id); });
}

Result<core::MessageView> SqliteReader::message(const std::string& app, const core::Id& id) {
  const auto m = state_->message(app, id);
  if (!m) return tl::unexpected(m.error());
  return view_of(*m);
}

Result<core::PageOf<core::MessageView>> SqliteReader::outbox(const core::OutboxFilter& filter,
                                                             const core::Page& page) {
  const auto from = parse_cursor(page.cursor);
  if (!from) return tl::unexpected(from.error());
  if (page.limit < 1 || page.limit > k_max_page)
    return core::fail(Errc::invalid, fmt::format("limit is from 1 to {}", k_max_page));
  const bool filtered =
      !filter.app.empty() || !filter.relay.empty() || (filter.state && !filter.recipient.empty());
  const int look = filtered ? k_max_looked_at : page.limit;
  if (!filter.recipient.empty()) {
    const auto recipient = state_->recipient(filter.recipient);
    if (!recipient) return tl::unexpected(recipient.error());
    if (!*recipient) return core::PageOf<core::MessageView>{};
    return state_->page_from(state_->sql[ReaderSql::outbox_of_recipient].select(*from, look + 1, **recipient),
                             look, filter, page.limit);
  }
  if (filter.state) {
    const int state = static_cast<int>(*filter.state);
    return state_->page_from(state_->sql[ReaderSql::outbox_of_state].select(*from, look + 1, state), look,
                             filter, page.limit);
  }
  return state_->page_from(state_->sql[ReaderSql::outbox_newest].select(*from, look + 1), look, filter,
                           page.limit);
}

Result<core::OutboxDetail> SqliteReader::outbox_item(const core::Id& id) {
  return state_->at_one_moment<core::OutboxDetail>([&]() -> Result<core::OutboxDetail> {
    const auto m = state_->message({}, id);
    if (!m) return tl::unexpected(m.error());
    auto events = state_->events_of(*m);
    if (!events) return tl::unexpected(events.error());
    return core::OutboxDetail{view_of(*m), *std::move(events)};
  });
}

Result<core::Stats> SqliteReader::stats(core::WallTime now) {
  return state_->at_one_moment<core::Stats>([&]() -> Result<core::Stats> {
    Counters counters;
    Rows rows = state_->sql[ReaderSql::counter_all].select();
    for (;;) {
      const auto more = rows.next();
      if (!more) return tl::unexpected(more.error());
      if (!*more) break;
      if (const auto position = Counters::position(rows.text(0))) counters[*position] = rows.integer(1);
    }
    core::Stats out;
    out.accepted_total = counters[Counters::k_accepted];
    for (int i = 0; i < core::k_challenge_states; ++i) {
      const auto state = static_cast<core::ChallengeState>(i);
      out.challenges[std::string(to_string(state))] = counters[Counters::challenges(state)];
    }
    for (int i = 0; i < core::k_message_states; ++i) {
      const auto state = static_cast<MessageState>(i);
      const std::string name(to_string(state));
      out.messages[name] = counters[Counters::messages(state)];
      const std::int64_t ended = counters[Counters::ended(state)];
      if (!is_open(state) || ended > 0) out.ended_total[name] = ended;
      if (!is_open(state)) continue;
      Rows oldest = state_->sql[ReaderSql::oldest_of_state].select(i);
      const auto found = oldest.next();
      if (!found) return tl::unexpected(found.error());
      if (*found) out.oldest_seconds[name] = std::chrono::floor<core::Seconds>(now - oldest.time(0)).count();
    }
    return out;
  });
}

core::Result<core::RecipientView> SqliteReader::recipient(const std::string& /*app*/,
                                                          const core::Address& /*address*/,
                                                          core::WallTime /*now*/) {
  return core::fail(core::Errc::unsupported, "store: bounces are not kept yet");
}

core::Result<core::PageOf<core::BounceView>> SqliteReader::bounces(const core::BounceFilter& /*filter*/,
                                                                   const core::Page& /*page*/) {
  return core::fail(core::Errc::unsupported, "store: bounces are not kept yet");
}

core::Result<core::PageOf<core::SuppressionView>> SqliteReader::suppressions(const std::string& /*recipient*/,
                                                                             const core::Page& /*page*/,
                                                                             core::WallTime /*now*/) {
  return core::fail(core::Errc::unsupported, "store: bounces are not kept yet");
}

}  // namespace mailotp::store
