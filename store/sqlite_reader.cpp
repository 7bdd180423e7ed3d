#include "store/sqlite_reader.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <type_traits>

#include <fmt/format.h>

#include "core/tokens.h"
#include "store/counters.h"
#include "store/events.h"
#include "store/idempotency.h"
#include "store/limits.h"
#include "store/migrations.h"
#include "store/records.h"
#include "store/statements.h"
#include "store/timeline.h"

namespace mailotp::store {

using core::Errc;
using core::MessageState;
using core::Result;

namespace {

constexpr int k_max_page = 500;
// Messages that one call looks at when a filter has no index of its own.
constexpr int k_max_looked_at = 10'000;
// Of those in the state whose deadlines come first.
constexpr int k_oldest_among = 5'000;
// Events that one call looks at, and those of others passes over.
constexpr int k_max_events_looked_at = 2'000;

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

// Before the rest of a wide row is read: most of ten thousand may be passed over. The columns are those of
// read_message.
bool passes(const core::OutboxFilter& filter, const Rows& message) {
  return (!filter.state || static_cast<std::int64_t>(*filter.state) == message.integer(10)) &&
         (filter.app.empty() || filter.app == message.text(6)) &&
         (filter.relay.empty() || filter.relay == message.text(23));
}

bool passes(const core::BounceFilter& filter, const core::BounceView& b) {
  return (filter.app.empty() || filter.app == b.app) && (!filter.message || filter.message == b.message) &&
         (!filter.kind || *filter.kind == b.kind) &&
         (!filter.bounce_class || *filter.bounce_class == b.bounce_class);
}

Result<std::int64_t> parse_page(const core::Page& page) {
  if (page.limit < 1 || page.limit > k_max_page)
    return core::fail(Errc::invalid, fmt::format("limit is from 1 to {}", k_max_page));
  return parse_cursor(page.cursor);
}

// The rows that pass, newest first. One row more than the page tells whether there is a next one.
template <class Item>
Result<core::PageOf<Item>> page_of(Rows&& rows, int looked_at_most, int limit, auto&& read,
                                   auto&& passes_it) {
  core::PageOf<Item> out;
  constexpr bool k_by_row = std::is_invocable_v<decltype(passes_it), const Rows&>;
  std::int64_t last = 0;
  for (int looked = 0;; ++looked) {
    const auto more = rows.next();
    if (!more) return tl::unexpected(more.error());
    if (!*more) return out;
    if (looked == looked_at_most || std::cmp_equal(out.items.size(), limit)) break;
    last = rows.integer(0);
    if constexpr (k_by_row) {
      if (!passes_it(rows)) continue;
    }
    auto item = read(rows);
    if (!item) return tl::unexpected(item.error());
    if constexpr (!k_by_row) {
      if (!passes_it(*item)) continue;
    }
    out.items.push_back(*std::move(item));
  }
  out.next_cursor = fmt::format("{:x}", last);
  return out;
}

}  // namespace

struct SqliteReader::State final : UsageSource {
  State(Connection connection, Prepared<ReaderSql, k_reader_statements> statements, core::LimitRules rules)
      : db(std::move(connection)), sql(std::move(statements)), limits(std::move(rules)) {}

  Connection db;
  Prepared<ReaderSql, k_reader_statements> sql;
  core::LimitRules limits;

  Result<std::optional<UsagePart>> newest(const std::string& key) override {
    return read_usage(sql[ReaderSql::usage_newest].select(Blob{key}));
  }
  Result<std::optional<UsagePart>> part(const std::string& key, std::int64_t part) override {
    return read_usage(sql[ReaderSql::usage_part].select(Blob{key}, part));
  }
  Result<core::Millis> shifted() {
    Rows rows = sql[ReaderSql::clock_shifted].select();
    const auto found = rows.next();
    if (!found) return tl::unexpected(found.error());
    return core::Millis{*found ? rows.integer(0) : 0};
  }

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

  Result<core::ChallengeView> view(const ChallengeRecord& c, const std::optional<MessageRecord>& message,
                                   core::WallTime now) {
    const auto by = shifted();
    if (!by) return tl::unexpected(by.error());
    return view_within_limits(*this, limits, c, message, now, *by);
  }

  Result<core::ChallengeView> challenge(const std::string& app, const core::Id& id, core::WallTime now) {
    Rows rows = sql[ReaderSql::challenge_by_id].select(id);
    const auto found = rows.next();
    if (!found) return tl::unexpected(found.error());
    if (!*found) return core::fail(Errc::not_found, "no such challenge");
    const auto c = read_challenge(rows);
    if (!c) return tl::unexpected(c.error());
    if (!app.empty() && c->app != app) return core::fail(Errc::not_found, "no such challenge");
    if (!c->message) return view(*c, std::nullopt, now);
    Rows messages = sql[ReaderSql::message_by_n].select(*c->message);
    const auto has_message = messages.next();
    if (!has_message) return tl::unexpected(has_message.error());
    if (!*has_message) return view(*c, std::nullopt, now);
    auto m = read_message(messages);
    if (!m) return tl::unexpected(m.error());
    return view(*c, *std::move(m), now);
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
    return recipient_of(*address);
  }
  Result<std::optional<std::int64_t>> recipient_of(const core::Address& address) {
    Rows rows = sql[ReaderSql::recipient_find].select(core::folded_most(address), address.key());
    const auto found = rows.next();
    if (!found) return tl::unexpected(found.error());
    if (!*found) return std::optional<std::int64_t>{};
    return std::optional(rows.integer(0));
  }

  static Result<core::PageOf<core::MessageView>> page_from(Rows&& rows, int looked_at_most,
                                                           const core::OutboxFilter& filter, int limit) {
    auto records = page_of<MessageRecord>(std::move(rows), looked_at_most, limit, read_message,
                                          [&](const Rows& row) { return passes(filter, row); });
    if (!records) return tl::unexpected(records.error());
    core::PageOf<core::MessageView> out;
    for (const MessageRecord& m : records->items)
      out.items.push_back(view_of(m));
    out.next_cursor = std::move(records->next_cursor);
    return out;
  }

  Result<std::int64_t> messages_in(MessageState state) {
    Rows rows = sql[ReaderSql::counter_get].select(Counters::name(Counters::messages(state)));
    const auto found = rows.next();
    if (!found) return tl::unexpected(found.error());
    return *found ? rows.integer(0) : 0;
  }

  // Index entries of an open state stand in the order of their deadlines, so that all of them have to be
  // sorted. Where they are more than a call may look at, the newest rows of any state are walked instead.
  Result<core::PageOf<core::MessageView>> outbox_of_state(const core::OutboxFilter& filter, std::int64_t from,
                                                          int look, int limit) {
    const MessageState state = *filter.state;
    const auto there = messages_in(state);
    if (!there) return tl::unexpected(there.error());
    if (*there <= k_max_looked_at)
      return page_from(sql[ReaderSql::outbox_of_state].select(from, look + 1, static_cast<int>(state)), look,
                       filter, limit);
    if (!is_open(state))
      return page_from(
          sql[ReaderSql::outbox_of_ended].select(from, look + 1, static_cast<int>(state), core::k_never),
          look, filter, limit);
    return page_from(sql[ReaderSql::outbox_newest].select(from, k_max_looked_at + 1), k_max_looked_at, filter,
                     limit);
  }

  // Of one app; or, for operators, the newest word of any.
  Result<Evidence> evidence(std::int64_t recipient, const std::string& app) {
    Evidence out;
    Rows rows = sql[ReaderSql::evidence_of].select(recipient);
    for (;;) {
      const auto more = rows.next();
      if (!more) return tl::unexpected(more.error());
      if (!*more) return out;
      auto one = read_evidence(rows);
      if (!one) return one;
      if (!app.empty() && one->app != app) continue;
      out.hard = out.hard || one->hard;
      out.proven_at = std::max(out.proven_at, one->proven_at);
      out.doubted_at = std::max(out.doubted_at, one->doubted_at);
      if (one->verdict && (!out.verdict || one->verdict->at > out.verdict->at)) out.verdict = one->verdict;
    }
  }

  Result<std::optional<core::SuppressionView>> longest_suppression(std::int64_t recipient,
                                                                   const std::string& app,
                                                                   core::WallTime now) {
    std::optional<SuppressionRecord> longest;
    Rows rows = sql[ReaderSql::suppressions_of_recipient].select(std::numeric_limits<std::int64_t>::max(),
                                                                 k_max_looked_at, recipient);
    for (;;) {
      const auto more = rows.next();
      if (!more) return tl::unexpected(more.error());
      if (!*more) break;
      auto one = read_suppression(rows);
      if (!one) return tl::unexpected(one.error());
      const bool counts = one->until > now && (app.empty() || one->app.empty() || one->app == app);
      if (counts && (!longest || one->until > longest->until)) longest = *std::move(one);
    }
    if (!longest) return std::optional<core::SuppressionView>{};
    return std::optional(view_of(*longest));
  }
};

SqliteReader::SqliteReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
SqliteReader::~SqliteReader() = default;

Result<std::unique_ptr<SqliteReader>> SqliteReader::open(const std::string& state_dir,
                                                         core::LimitRules limits) {
  auto db = Connection::open(state_dir + "/mailotpd.db", Connection::Access::read_only);
  if (!db) return tl::unexpected(db.error());
  if (auto known = check_schema(*db); !known) return tl::unexpected(known.error());
  if (auto set = db->exec("PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;");
      !set)
    return tl::unexpected(set.error());
  auto sql = Prepared<ReaderSql, k_reader_statements>::prepare(*db, k_reader_sql);
  if (!sql) return tl::unexpected(sql.error());
  return std::unique_ptr<SqliteReader>(
      new SqliteReader(std::make_unique<State>(*std::move(db), *std::move(sql), std::move(limits))));
}

Result<core::ChallengeView> SqliteReader::challenge(const std::string& app, const core::Id& id,
                                                    core::WallTime now) {
  return state_->at_one_moment<core::ChallengeView>([&] { return state_->challenge(app, id, now); });
}

Result<core::MessageView> SqliteReader::message(const std::string& app, const core::Id& id) {
  const auto m = state_->message(app, id);
  if (!m) return tl::unexpected(m.error());
  return view_of(*m);
}

Result<core::PageOf<core::MessageView>> SqliteReader::outbox(const core::OutboxFilter& filter,
                                                             const core::Page& page) {
  const auto from = parse_page(page);
  if (!from) return tl::unexpected(from.error());
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
  if (filter.state)
    return state_->at_one_moment<core::PageOf<core::MessageView>>(
        [&] { return state_->outbox_of_state(filter, *from, look, page.limit); });
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
    for (int i = 0; i < core::k_bounce_classes; ++i) {
      const auto bounce_class = static_cast<core::BounceClass>(i);
      const std::int64_t ever = counters[Counters::bounces(bounce_class)];
      if (ever > 0) out.bounces[std::string(to_string(bounce_class))] = ever;
    }
    out.accepted_total = counters[Counters::k_accepted];
    out.suppressed_total = counters[Counters::k_suppressed];
    out.contradictory_total = counters[Counters::k_contradictory];
    out.unread_mails_total = counters[Counters::k_unread_mails];
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
      Rows oldest = state_->sql[ReaderSql::oldest_of_state].select(i, k_oldest_among);
      const auto found = oldest.next();
      if (!found) return tl::unexpected(found.error());
      if (*found) out.oldest_seconds[name] = std::chrono::floor<core::Seconds>(now - oldest.time(0)).count();
    }
    return out;
  });
}

Result<core::RecipientView> SqliteReader::recipient(const std::string& app, const core::Address& address,
                                                    core::WallTime now) {
  return state_->at_one_moment<core::RecipientView>([&]() -> Result<core::RecipientView> {
    core::RecipientView out;
    out.address = address.mailbox();
    const auto n = state_->recipient_of(address);
    if (!n) return tl::unexpected(n.error());
    if (!*n) return out;
    const auto known = state_->evidence(**n, app);
    if (!known) return tl::unexpected(known.error());
    const auto in_force = state_->longest_suppression(**n, app, now);
    if (!in_force) return tl::unexpected(in_force.error());
    out.suppressed = *in_force;
    out.last_verdict = known->verdict;
    // The newest word counts.
    const bool proven = known->proven_at && (!known->doubted_at || *known->proven_at >= *known->doubted_at);
    if (proven) out.deliverable = core::Deliverable::yes;
    if (out.suppressed || known->hard) out.deliverable = core::Deliverable::no;
    return out;
  });
}

Result<core::PageOf<core::BounceView>> SqliteReader::bounces(const core::BounceFilter& filter,
                                                             const core::Page& page) {
  const auto from = parse_page(page);
  if (!from) return tl::unexpected(from.error());
  const bool filtered = !filter.app.empty() || filter.kind || filter.bounce_class ||
                        (filter.message && !filter.recipient.empty());
  const int look = filtered ? k_max_looked_at : page.limit;
  const auto read = [&](Rows&& rows) {
    return page_of<core::BounceView>(std::move(rows), look, page.limit, read_bounce,
                                     [&](const core::BounceView& b) { return passes(filter, b); });
  };
  if (!filter.recipient.empty()) {
    const auto recipient = state_->recipient(filter.recipient);
    if (!recipient) return tl::unexpected(recipient.error());
    if (!*recipient) return core::PageOf<core::BounceView>{};
    return read(state_->sql[ReaderSql::bounces_of_recipient].select(*from, look + 1, **recipient));
  }
  if (filter.message)
    return read(state_->sql[ReaderSql::bounces_of_message].select(*from, look + 1, *filter.message));
  return read(state_->sql[ReaderSql::bounces_newest].select(*from, look + 1));
}

Result<core::PageOf<core::SuppressionView>> SqliteReader::suppressions(const std::string& recipient,
                                                                       const core::Page& page,
                                                                       core::WallTime now) {
  const auto from = parse_page(page);
  if (!from) return tl::unexpected(from.error());
  std::optional<std::int64_t> of;
  if (!recipient.empty()) {
    const auto found = state_->recipient(recipient);
    if (!found) return tl::unexpected(found.error());
    if (!*found) return core::PageOf<core::SuppressionView>{};
    of = **found;
  }
  auto records = page_of<SuppressionRecord>(
      of ? state_->sql[ReaderSql::suppressions_of_recipient].select(*from, k_max_looked_at + 1, *of)
         : state_->sql[ReaderSql::suppressions_newest].select(*from, k_max_looked_at + 1),
      k_max_looked_at, page.limit, read_suppression, [&](const Rows& row) { return row.time(6) > now; });
  if (!records) return tl::unexpected(records.error());
  core::PageOf<core::SuppressionView> out;
  for (const SuppressionRecord& s : records->items)
    out.items.push_back(view_of(s));
  out.next_cursor = std::move(records->next_cursor);
  return out;
}

Result<std::int64_t> SqliteReader::newest_event() {
  Rows rows = state_->sql[ReaderSql::event_newest].select();
  const auto found = rows.next();
  if (!found) return tl::unexpected(found.error());
  return *found && !rows.is_null(0) ? rows.integer(0) : 0;
}

Result<core::EventPage> SqliteReader::events(const core::EventFilter& filter) {
  if (filter.limit < 1 || filter.limit > k_max_page)
    return core::fail(Errc::invalid, fmt::format("limit is from 1 to {}", k_max_page));
  return state_->at_one_moment<core::EventPage>([&]() -> Result<core::EventPage> {
    const auto newest = newest_event();
    if (!newest) return tl::unexpected(newest.error());
    if (filter.after < 0 || filter.after > *newest)
      return core::fail(Errc::invalid, "after: is not a cursor of this database");
    core::EventPage out;
    out.after = filter.after;
    Rows rows = state_->sql[ReaderSql::events_after].select(filter.after, k_max_events_looked_at);
    while (std::cmp_less(out.items.size(), filter.limit)) {
      const auto found = rows.next();
      if (!found) return tl::unexpected(found.error());
      if (!*found) break;
      out.after = rows.integer(0);
      // One that cannot be read, of a version to come or by damage, does not end the stream.
      auto event = read_event(rows);
      if (event && (filter.app.empty() || event->app == filter.app)) out.items.push_back(*std::move(event));
    }
    out.more = out.after < *newest;
    return out;
  });
}

Result<core::PageOf<core::TimelineItem>> SqliteReader::timeline(const core::TimelineFilter& filter,
                                                                const core::Page& page) {
  const auto from = page.cursor.empty() ? Result<std::int64_t>(0) : parse_page(page);
  if (!from) return tl::unexpected(from.error());
  return state_->at_one_moment<core::PageOf<core::TimelineItem>>(
      [&]() -> Result<core::PageOf<core::TimelineItem>> {
        TimelineOf of{.recipient = {}, .subject = filter.challenge, .message = filter.message};
        if (!filter.recipient.empty()) {
          const auto recipient = state_->recipient(filter.recipient);
          if (!recipient) return tl::unexpected(recipient.error());
          if (!*recipient) return core::PageOf<core::TimelineItem>{};
          of.recipient = **recipient;
        }
        if (filter.message) {
          const auto m = state_->message({}, *filter.message);
          if (!m) return tl::unexpected(m.error());
          of.subject = m->challenge.value_or(m->id);
        }
        auto found = read_timeline(state_->sql, of, *from, page.limit);
        if (found && found->items.empty() && filter.challenge && page.cursor.empty())
          return core::fail(Errc::not_found, "nothing is known of such a challenge");
        return found;
      });
}

Result<std::vector<core::KeyUse>> SqliteReader::keys() {
  return state_->at_one_moment<std::vector<core::KeyUse>>([&]() -> Result<std::vector<core::KeyUse>> {
    std::vector<core::KeyUse> out;
    Rows rows = state_->sql[ReaderSql::key_all].select();
    for (;;) {
      const auto more = rows.next();
      if (!more) return tl::unexpected(more.error());
      if (!*more) break;
      const auto id = static_cast<KeyId>(rows.integer(0));
      core::KeyUse key;
      key.id = format_key_id(id);
      if (!rows.is_null(1)) key.retired_at = rows.time(1);
      const auto in_challenge = state_->sql[ReaderSql::key_of_open_challenge].select(id).next();
      if (!in_challenge) return tl::unexpected(in_challenge.error());
      const auto in_body = state_->sql[ReaderSql::key_of_body].select(id).next();
      if (!in_body) return tl::unexpected(in_body.error());
      key.challenges = *in_challenge;
      key.messages = *in_body;
      if (key.retired_at) {
        key.answers_until = *key.retired_at + k_kept_for;
        key.bounces_until = *key.retired_at + 2 * core::k_token_epoch;
      }
      out.push_back(std::move(key));
    }
    // The one that writes first, then the one that was replaced last.
    std::ranges::sort(out, std::greater{},
                      [](const core::KeyUse& key) { return key.retired_at.value_or(core::k_never); });
    return out;
  });
}

void SqliteReader::take_over(core::LimitRules limits) {
  state_->limits = std::move(limits);
}

}  // namespace mailotp::store
