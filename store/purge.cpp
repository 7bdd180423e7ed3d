#include "store/purge.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "core/crash_point.h"
#include "store/brake.h"
#include "store/idempotency.h"

namespace mailotp::store {

using core::Result;

namespace {

constexpr int k_portion = 16;    // rows of one table, before another one has its turn
constexpr int k_usage_walk = 5;  // times the rows of a portion

// What a portion has left: `perhaps` is worth another look in this step, and not another step.
enum class Left : std::uint8_t { nothing, perhaps, more };

struct Ended {
  std::int64_t n = 0;
  std::int64_t state = 0;
  std::int64_t recipient = 0;
  std::optional<core::Id> challenge;  // of a message
  std::optional<core::Id> message;
};

struct Dated {
  std::int64_t n = 0;
  core::WallTime at;
  std::optional<std::int64_t> recipient;
};

// A table whose rows stand in the order of their commits: what is old stands first.
struct Log {
  WriterSql first;
  WriterSql remove;
  bool read = false;
  std::vector<Dated> old = {};
  std::size_t removed = 0;
};

class Removal {
 public:
  Removal(Transaction& tx, const core::Purge& command) : tx_(tx), command_(command) {}

  // The tables in turn, each a portion; the next step goes on with the table that this one has not come to.
  Result<core::Answer> run() {
    static constexpr std::array<Part, 9> k_parts{
        &Removal::challenges,   &Removal::messages, &Removal::events,
        &Removal::kept_answers, &Removal::bounces,  &Removal::mails,
        &Removal::usage,        &Removal::evidence, &Removal::suppressions};
    std::array<int, k_parts.size()> may{};
    may.fill(command_.limit);
    auto& [turn, done_in_a_row] = tx_.writer().purge_walk;
    (void)enough();
    for (bool stop = false; !stop && std::ranges::any_of(may, [](int rows) { return rows > 0; });) {
      for (std::size_t i = 0; i < k_parts.size() && !stop; ++i, turn = (turn + 1) % k_parts.size()) {
        if (may[turn] == 0) continue;
        const int rows = std::min(k_portion, may[turn]);
        const auto after = (this->*k_parts[turn])(rows);
        if (!after) return tl::unexpected(after.error());
        done_in_a_row = *after == Left::more ? 0 : done_in_a_row + 1;
        may[turn] = *after == Left::nothing ? 0 : may[turn] - rows;
        stop = enough();
      }
      if (auto done = forget_recipients(); !done) return tl::unexpected(done.error());
    }
    MAILOTP_CRASH_POINT_IF(removed_ > 0, "purging");
    if (auto done = look_at_brakes(tx_, Cause{command_.at, {}}); !done) return tl::unexpected(done.error());
    return core::Purged{removed_, std::cmp_less(done_in_a_row, k_parts.size())};
  }

 private:
  using Part = Result<Left> (Removal::*)(int rows);

  [[nodiscard]] bool enough() const { return command_.enough && command_.enough(); }

  // Those at fault do not count: they stand first for ever.
  Result<std::vector<Ended>> ended(WriterSql statement, core::Seconds retention, int rows,
                                   const std::set<std::int64_t>& bad) {
    const std::int64_t most = rows + static_cast<std::int64_t>(bad.size());
    auto over =
        all_rows<Ended>(tx_.sql(statement).select(command_.at - retention, most), [](const Rows& row) {
          return Ended{row.integer(0), row.integer(1), row.integer(2), row.id(3), row.id(4)};
        });
    if (over) std::erase_if(*over, [&](const Ended& one) { return bad.contains(one.n); });
    if (over && std::cmp_greater(over->size(), rows)) over->resize(static_cast<std::size_t>(rows));
    return over;
  }

  Result<Left> challenges(int rows) {
    std::set<std::int64_t>& bad = tx_.writer().bad.challenges;
    const auto over = ended(WriterSql::challenge_over, tx_.writer().rules->retention.challenges, rows, bad);
    if (!over) return tl::unexpected(over.error());
    for (const Ended& one : *over) {
      if (is_at_fault(one, core::k_challenge_states, bad)) continue;
      if (auto done = remove_one(WriterSql::challenge_remove, one, bad); !done)
        return tl::unexpected(done.error());
      --tx_.counted()[Counters::challenges(static_cast<core::ChallengeState>(one.state))];
      recipients_.insert(one.recipient);
    }
    return left_of(*over, rows);
  }

  Result<Left> messages(int rows) {
    std::set<std::int64_t>& bad = tx_.writer().bad.messages;
    const auto over = ended(WriterSql::message_over, tx_.writer().rules->retention.messages, rows, bad);
    if (!over) return tl::unexpected(over.error());
    for (const Ended& one : *over) {
      if (is_at_fault(one, core::k_message_states, bad)) continue;
      // The number of the last row is given out again: a challenge that kept it would show another's mail. An
      // older message's number is in the row of a newer one alone, and not free before that row is gone too.
      if (one.challenge) {
        if (auto done = tx_.sql(WriterSql::challenge_forget_message).run(*one.challenge, one.n); !done)
          return tl::unexpected(done.error());
      }
      // What relays said of it may name its recipient, whom an erasure no longer finds by the events alone.
      if (const auto& id = one.challenge ? one.challenge : one.message) {
        if (auto done = tx_.sql(WriterSql::event_hush).run(*id); !done) return tl::unexpected(done.error());
      }
      if (auto done = remove_one(WriterSql::message_remove, one, bad); !done)
        return tl::unexpected(done.error());
      tx_.writer().bad.bodies.erase(one.n);  // the number's next owner is another message
      tx_.counted().remove(static_cast<core::MessageState>(one.state));
      recipients_.insert(one.recipient);
    }
    return left_of(*over, rows);
  }

  Result<Left> from_log(Log& log, core::Seconds retention, int rows) {
    if (!log.read) {
      if (auto read = find_old(log, retention); !read) return tl::unexpected(read.error());
    }
    const std::size_t until = std::min(log.removed + static_cast<std::size_t>(rows), log.old.size());
    if (log.removed == until) return Left::nothing;
    for (; log.removed < until; ++log.removed) {
      if (const auto& recipient = log.old[log.removed].recipient) recipients_.insert(*recipient);
    }
    if (auto done = remove(log.remove, log.old[until - 1].n); !done) return tl::unexpected(done.error());
    const bool more = until < log.old.size() || std::cmp_equal(until, command_.limit);
    return more ? Left::more : Left::nothing;
  }

  // Where the clock was set back between two rows, the earlier one is at least as old as the later one.
  Result<> find_old(Log& log, core::Seconds retention) {
    auto first = all_rows<Dated>(tx_.sql(log.first).select(command_.limit), [](const Rows& row) {
      Dated one{row.integer(0), row.time(1), {}};
      if (!row.is_null(2)) one.recipient = row.integer(2);
      return one;
    });
    if (!first) return tl::unexpected(first.error());
    while (!first->empty() && first->back().at > command_.at - retention)
      first->pop_back();
    log.old = *std::move(first);
    log.read = true;
    return {};
  }

  Result<Left> events(int rows) { return from_log(events_, tx_.writer().rules->retention.events, rows); }
  Result<Left> kept_answers(int rows) { return from_log(kept_answers_, k_kept_for, rows); }
  Result<Left> bounces(int rows) { return from_log(bounces_, of_bounces(), rows); }
  // Those that are known.
  Result<Left> mails(int rows) { return from_log(mails_, of_bounces(), rows); }

  [[nodiscard]] core::Seconds of_bounces() const { return tx_.writer().rules->retention.bounces; }

  // One that is over keeps its level so long.
  Result<Left> suppressions(int rows) {
    const auto over = all_rows<Ended>(
        tx_.sql(WriterSql::suppression_over).select(command_.at - of_bounces(), rows), [](const Rows& row) {
          return Ended{row.integer(0), 0, row.integer(1), {}, {}};
        });
    if (!over) return tl::unexpected(over.error());
    for (const Ended& one : *over) {
      if (auto done = remove(WriterSql::suppression_remove, one.n); !done)
        return tl::unexpected(done.error());
      recipients_.insert(one.recipient);
    }
    return left_of(*over, rows);
  }

  Result<Left> evidence(int rows) {
    struct Known {
      std::int64_t recipient;
      std::string app;
    };
    const auto over = all_rows<Known>(
        tx_.sql(WriterSql::evidence_over).select(command_.at - of_bounces(), rows), [](const Rows& row) {
          return Known{row.integer(0), std::string(row.text(1))};
        });
    if (!over) return tl::unexpected(over.error());
    for (const Known& one : *over) {
      if (auto done = tx_.sql(WriterSql::evidence_remove).run(one.recipient, one.app); !done)
        return tl::unexpected(done.error());
      removed_ += tx_.writer().db.changed();
      recipients_.insert(one.recipient);
    }
    return left_of(*over, rows);
  }

  // The logs of the limits stand in no order of time: each portion looks at some more of them.
  Result<Left> usage(int rows) {
    struct Old {
      std::string key;
      std::int64_t part;
      core::WallTime until;
    };
    auto& [key, part] = tx_.writer().usage_walk;
    const int looked_at_most = rows * k_usage_walk;
    const auto parts = all_rows<Old>(tx_.sql(WriterSql::usage_walk).select(Blob{key}, part, looked_at_most),
                                     [](const Rows& row) {
                                       return Old{std::string(row.blob(0)), row.integer(1), row.time(2)};
                                     });
    if (!parts) return tl::unexpected(parts.error());
    int removed = 0;
    for (const Old& one : *parts) {
      if (one.until > tx_.even(command_.at)) continue;
      if (auto done = tx_.sql(WriterSql::usage_remove).run(Blob{one.key}, one.part); !done)
        return tl::unexpected(done.error());
      ++removed;
    }
    removed_ += removed;
    const bool to_the_end = std::cmp_less(parts->size(), looked_at_most);
    key = to_the_end ? std::string(1, '\0') : parts->back().key;
    part = to_the_end ? 0 : parts->back().part;
    if (to_the_end) return Left::nothing;
    return removed >= rows ? Left::more : Left::perhaps;
  }

  Result<> remove(WriterSql statement, std::int64_t n) {
    auto done = tx_.sql(statement).run(n);
    if (done) removed_ += tx_.writer().db.changed();
    return done;
  }

  // A portion that was not full was the last one.
  template <class Row>
  [[nodiscard]] static Left left_of(const std::vector<Row>& found, int rows) {
    return std::cmp_equal(found.size(), rows) ? Left::more : Left::nothing;
  }

  Result<> forget_recipients() {
    for (const std::int64_t recipient : std::exchange(recipients_, {})) {
      if (auto done = tx_.sql(WriterSql::recipient_forget).run(recipient); !done) return done;
    }
    return {};
  }

  // A row at fault stays; it must not keep those behind it.
  static bool is_at_fault(const Ended& one, int states, std::set<std::int64_t>& bad) {
    if (one.state < 0 || one.state >= states) bad.insert(one.n);
    return bad.contains(one.n);
  }

  Result<> remove_one(WriterSql statement, const Ended& one, std::set<std::int64_t>& bad) {
    auto done = remove(statement, one.n);
    if (!done && done.error().code == core::Errc::corrupt) bad.insert(one.n);
    return done;
  }

  Transaction& tx_;
  const core::Purge& command_;
  std::int64_t removed_ = 0;
  std::set<std::int64_t> recipients_;  // of removed rows
  Log events_{WriterSql::event_first, WriterSql::event_remove};
  Log kept_answers_{WriterSql::once_first, WriterSql::once_remove};
  Log bounces_{WriterSql::bounce_first, WriterSql::bounce_remove};
  Log mails_{WriterSql::mail_first, WriterSql::mail_remove_old};
};

}  // namespace

Result<core::Answer> purge(Transaction& tx, const core::Purge& command) {
  return Removal(tx, command).run();
}

}  // namespace mailotp::store
