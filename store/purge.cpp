#include "store/purge.h"

#include <set>

#include "core/crash_point.h"
#include "store/brake.h"
#include "store/idempotency.h"

namespace mailotp::store {

using core::Result;

namespace {

constexpr int k_usage_walk = 5;  // times the rows of a step

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

class Removal {
 public:
  Removal(Transaction& tx, const core::Purge& command) : tx_(tx), command_(command) {}

  Result<core::Answer> run() {
    if (auto done = challenges(); !done) return tl::unexpected(done.error());
    if (auto done = messages(); !done) return tl::unexpected(done.error());
    MAILOTP_CRASH_POINT_IF(removed_ > 0, "purging");
    if (auto done = events(); !done) return tl::unexpected(done.error());
    if (auto done = kept_answers(); !done) return tl::unexpected(done.error());
    if (auto done = bounces(); !done) return tl::unexpected(done.error());
    if (auto done = suppressions(); !done) return tl::unexpected(done.error());
    if (auto done = evidence(); !done) return tl::unexpected(done.error());
    if (auto done = usage(); !done) return tl::unexpected(done.error());
    if (auto done = look_at_brakes(tx_, Cause{command_.at, {}}); !done) return tl::unexpected(done.error());
    for (const std::int64_t recipient : recipients_) {
      if (auto done = tx_.sql(WriterSql::recipient_forget).run(recipient); !done)
        return tl::unexpected(done.error());
    }
    return core::Purged{removed_};
  }

 private:
  Result<std::vector<Ended>> ended(WriterSql statement, core::Seconds retention) {
    return all_rows<Ended>(
        tx_.sql(statement).select(command_.at - retention, command_.limit), [](const Rows& rows) {
          return Ended{rows.integer(0), rows.integer(1), rows.integer(2), rows.id(3), rows.id(4)};
        });
  }

  Result<> challenges() {
    const auto over = ended(WriterSql::challenge_over, tx_.writer().rules->retention.challenges);
    if (!over) return tl::unexpected(over.error());
    std::set<std::int64_t>& bad = tx_.writer().bad.challenges;
    for (const Ended& one : *over) {
      if (passed_over(one, core::k_challenge_states, bad)) continue;
      if (auto done = remove_one(WriterSql::challenge_remove, one, bad); !done) return done;
      --tx_.counted()[Counters::challenges(static_cast<core::ChallengeState>(one.state))];
      recipients_.insert(one.recipient);
    }
    return {};
  }

  Result<> messages() {
    const auto over = ended(WriterSql::message_over, tx_.writer().rules->retention.messages);
    if (!over) return tl::unexpected(over.error());
    std::set<std::int64_t>& bad = tx_.writer().bad.messages;
    for (const Ended& one : *over) {
      if (passed_over(one, core::k_message_states, bad)) continue;
      // The number of the last row is given out again: a challenge that kept it would show another's mail. An
      // older message's number is in the row of a newer one alone, and not free before that row is gone too.
      if (one.challenge) {
        if (auto done = tx_.sql(WriterSql::challenge_forget_message).run(*one.challenge, one.n); !done)
          return done;
      }
      // What relays said of it may name its recipient, whom an erasure no longer finds by the events alone.
      if (const auto& id = one.challenge ? one.challenge : one.message) {
        if (auto done = tx_.sql(WriterSql::event_hush).run(*id); !done) return done;
      }
      if (auto done = remove_one(WriterSql::message_remove, one, bad); !done) return done;
      tx_.writer().bad.bodies.erase(one.n);  // the number's next owner is another message
      tx_.counted().remove(static_cast<core::MessageState>(one.state));
      recipients_.insert(one.recipient);
    }
    return {};
  }

  // Rows stand in the order of their commits. Where the clock was set back between two of them, the earlier
  // one is at least as old as the later one.
  [[nodiscard]] std::optional<std::int64_t> last_of(const std::vector<Dated>& first,
                                                    core::Seconds retention) const {
    std::optional<std::int64_t> last;
    for (const Dated& one : first) {
      if (one.at <= command_.at - retention) last = one.n;
    }
    return last;
  }

  Result<std::vector<Dated>> first_of(WriterSql statement) {
    return all_rows<Dated>(tx_.sql(statement).select(command_.limit), [](const Rows& rows) {
      Dated row{rows.integer(0), rows.time(1), {}};
      if (!rows.is_null(2)) row.recipient = rows.integer(2);
      return row;
    });
  }

  Result<> events() {
    const auto first = first_of(WriterSql::event_first);
    if (!first) return tl::unexpected(first.error());
    const auto last = last_of(*first, tx_.writer().rules->retention.events);
    if (!last) return {};
    for (const Dated& one : *first) {
      if (one.n <= *last && one.recipient) recipients_.insert(*one.recipient);
    }
    return remove(WriterSql::event_remove, *last);
  }

  Result<> kept_answers() {
    const auto first = first_of(WriterSql::once_first);
    if (!first) return tl::unexpected(first.error());
    const auto last = last_of(*first, k_kept_for);
    if (!last) return {};
    for (const Dated& one : *first) {
      if (one.n <= *last && one.recipient) recipients_.insert(*one.recipient);
    }
    return remove(WriterSql::once_remove, *last);
  }

  [[nodiscard]] core::Seconds of_bounces() const { return tx_.writer().rules->retention.bounces; }

  // The ledger, and the mails that are known.
  Result<> bounces() {
    const auto first = first_of(WriterSql::bounce_first);
    if (!first) return tl::unexpected(first.error());
    if (const auto last = last_of(*first, of_bounces())) {
      for (const Dated& one : *first) {
        if (one.n <= *last && one.recipient) recipients_.insert(*one.recipient);
      }
      if (auto done = remove(WriterSql::bounce_remove, *last); !done) return done;
    }
    const auto mails = first_of(WriterSql::mail_first);
    if (!mails) return tl::unexpected(mails.error());
    const auto last = last_of(*mails, of_bounces());
    return last ? remove(WriterSql::mail_remove_old, *last) : Result<>{};
  }

  // One that is over keeps its level so long.
  Result<> suppressions() {
    const auto over = all_rows<Ended>(
        tx_.sql(WriterSql::suppression_over).select(command_.at - of_bounces(), command_.limit),
        [](const Rows& rows) {
          return Ended{rows.integer(0), 0, rows.integer(1), {}, {}};
        });
    if (!over) return tl::unexpected(over.error());
    for (const Ended& one : *over) {
      if (auto done = remove(WriterSql::suppression_remove, one.n); !done) return done;
      recipients_.insert(one.recipient);
    }
    return {};
  }

  Result<> evidence() {
    struct Known {
      std::int64_t recipient;
      std::string app;
    };
    const auto over =
        all_rows<Known>(tx_.sql(WriterSql::evidence_over).select(command_.at - of_bounces(), command_.limit),
                        [](const Rows& rows) {
                          return Known{rows.integer(0), std::string(rows.text(1))};
                        });
    if (!over) return tl::unexpected(over.error());
    for (const Known& one : *over) {
      if (auto done = tx_.sql(WriterSql::evidence_remove).run(one.recipient, one.app); !done) return done;
      removed_ += tx_.writer().db.changed();
      recipients_.insert(one.recipient);
    }
    return {};
  }

  // The logs of the limits stand in no order of time: each step looks at some more of them.
  Result<> usage() {
    struct Part {
      std::string key;
      std::int64_t part;
      core::WallTime until;
    };
    auto& [key, part] = tx_.writer().usage_walk;
    const int looked_at_most = command_.limit * k_usage_walk;
    const auto parts = all_rows<Part>(tx_.sql(WriterSql::usage_walk).select(Blob{key}, part, looked_at_most),
                                      [](const Rows& rows) {
                                        return Part{std::string(rows.blob(0)), rows.integer(1), rows.time(2)};
                                      });
    if (!parts) return tl::unexpected(parts.error());
    for (const Part& one : *parts) {
      if (one.until > tx_.even(command_.at)) continue;
      if (auto done = tx_.sql(WriterSql::usage_remove).run(Blob{one.key}, one.part); !done) return done;
      ++removed_;
    }
    const bool to_the_end = std::cmp_less(parts->size(), looked_at_most);
    key = to_the_end ? std::string(1, '\0') : parts->back().key;
    part = to_the_end ? 0 : parts->back().part;
    return {};
  }

  Result<> remove(WriterSql statement, std::int64_t n) {
    auto done = tx_.sql(statement).run(n);
    if (done) removed_ += tx_.writer().db.changed();
    return done;
  }

  // A row at fault stays; it must not keep those behind it.
  static bool passed_over(const Ended& one, int states, std::set<std::int64_t>& bad) {
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
};

}  // namespace

Result<core::Answer> purge(Transaction& tx, const core::Purge& command) {
  return Removal(tx, command).run();
}

}  // namespace mailotp::store
