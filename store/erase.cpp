#include "store/erase.h"

#include <algorithm>

#include "core/challenge.h"
#include "store/challenge_secrets.h"

namespace mailotp::store {

using core::Result;

namespace {

// A total that no statistics know: rows since the pages were last written anew.
constexpr std::string_view k_erased_rows = "erased_since_vacuum";

struct Spelling {
  std::int64_t recipient = 0;
  std::string key;
};

// The rows of a recipient go first, table by table; then a walk over the ledger of bounces, whose words may
// name anybody. The place to go on from is 0 as long as the first part lasts, then the last row that was
// looked at, plus one.
class Erasure {
 public:
  Erasure(Transaction& tx, const core::Erase& command)
      : tx_(tx), command_(command), cause_{command.at, command.actor} {}

  Result<core::Answer> run() {
    if (command_.from == 0) {
      const auto spellings = find();
      if (!spellings) return tl::unexpected(spellings.error());
      for (const Spelling& one : *spellings) {
        const auto all = rows_of(one.recipient);
        if (!all) return tl::unexpected(all.error());
        if (!*all) return core::Erased{removed_, 0};
        if (auto gone = tx_.sql(WriterSql::recipient_forget).run(one.recipient); !gone)
          return tl::unexpected(gone.error());
        removed_ += tx_.writer().db.changed();
      }
    }
    const auto next = walk_bounces();
    if (!next) return tl::unexpected(next.error());
    if (*next) return core::Erased{removed_, *next};
    if (auto told = tell(); !told) return tl::unexpected(told.error());
    return core::Erased{removed_, {}};
  }

 private:
  // Under some rules that are in force the two are one.
  [[nodiscard]] bool is_meant(const core::Address& address) const {
    const auto same = [&](const core::LimitsConfig& rules) {
      return core::folded(address, rules) == core::folded(command_.address, rules);
    };
    const core::LimitRules& rules = tx_.writer().rules->limits;
    return same(rules.common) ||
           std::ranges::any_of(rules.apps, [&](const auto& app) { return same(app.second); });
  }

  Result<std::vector<Spelling>> find() {
    auto found =
        all_rows<Spelling>(tx_.sql(WriterSql::recipient_folded).select(core::folded_most(command_.address)),
                           [](const Rows& rows) {
                             return Spelling{rows.integer(0), std::string(rows.text(1))};
                           });
    if (found) std::erase_if(*found, [this](const Spelling& one) { return !is_meant(address_of(one.key)); });
    return found;
  }

  // False: there are more than fit into this step.
  Result<bool> rows_of(std::int64_t recipient) {
    for (const auto step :
         {&Erasure::challenges, &Erasure::messages, &Erasure::kept_answers, &Erasure::bounces}) {
      const auto all = (this->*step)(recipient);
      if (!all || !*all) return all;
    }
    for (const WriterSql statement :
         {WriterSql::suppression_drop, WriterSql::evidence_erase, WriterSql::event_forget}) {
      if (auto gone = count(tx_.sql(statement).run(recipient)); !gone) return tl::unexpected(gone.error());
    }
    return true;
  }

  // One by one: a row that cannot be read goes all the same.
  Result<bool> challenges(std::int64_t recipient) {
    const auto found = numbers(WriterSql::challenge_of_recipient, recipient);
    if (!found) return tl::unexpected(found.error());
    for (const std::int64_t n : *found) {
      auto one = tx_.challenge(n);
      if (!one && one.error().code != core::Errc::corrupt) return tl::unexpected(one.error());
      auto gone = one && *one ? remove(**one) : count(tx_.sql(WriterSql::challenge_remove).run(n));
      if (!gone) return tl::unexpected(gone.error());
      tx_.writer().bad.challenges.erase(n);  // the number's next owner is another one
    }
    return is_all(found->size());
  }

  Result<> remove(ChallengeRecord& challenge) {
    if (is_open(challenge.row.state)) {
      const core::ChallengeStep step = core::step(challenge.row, core::ChallengeEvent::cancel, command_.at);
      if (auto ended = tx_.end(challenge, step, cause_); !ended) return ended;
    }
    if (auto gone = count(tx_.sql(WriterSql::challenge_remove).run(challenge.n)); !gone) return gone;
    --tx_.counted()[Counters::challenges(challenge.row.state)];
    tx_.changed(challenge.id, std::nullopt);
    return hush(challenge.id);
  }

  Result<bool> messages(std::int64_t recipient) {
    const auto found = numbers(WriterSql::message_numbers_of_recipient, recipient);
    if (!found) return tl::unexpected(found.error());
    for (const std::int64_t n : *found) {
      const auto one = tx_.message(std::optional(n));
      if (!one && one.error().code != core::Errc::corrupt) return tl::unexpected(one.error());
      if (one && *one) {
        if (auto hushed = hush((*one)->challenge.value_or((*one)->id)); !hushed)
          return tl::unexpected(hushed.error());
      }
      auto gone = one && *one ? tx_.remove(**one) : remove_unread(n);
      if (!gone) return tl::unexpected(gone.error());
      ++removed_;
      tx_.writer().bad.messages.erase(n);
    }
    return is_all(found->size());
  }

  Result<> remove_unread(std::int64_t n) {
    if (auto done = tx_.sql(WriterSql::body_erase).run(n); !done) return done;
    return tx_.sql(WriterSql::message_remove).run(n);
  }

  Result<std::vector<std::int64_t>> numbers(WriterSql statement, std::int64_t recipient) {
    return all_rows<std::int64_t>(tx_.sql(statement).select(recipient, command_.limit),
                                  [](const Rows& rows) { return rows.integer(0); });
  }

  // What a relay said to it stands in the events of its mails, and may name it.
  Result<> hush(const core::Id& id) { return tx_.sql(WriterSql::event_hush).run(id); }

  Result<bool> kept_answers(std::int64_t recipient) {
    return remove_each(WriterSql::once_of_recipient, WriterSql::once_erase, recipient);
  }
  Result<bool> bounces(std::int64_t recipient) {
    return remove_each(WriterSql::bounce_of_recipient, WriterSql::bounce_erase, recipient);
  }
  Result<bool> remove_each(WriterSql find, WriterSql erase, std::int64_t recipient) {
    const auto found = numbers(find, recipient);
    if (!found) return tl::unexpected(found.error());
    for (const std::int64_t n : *found) {
      if (auto gone = count(tx_.sql(erase).run(n)); !gone) return tl::unexpected(gone.error());
    }
    return is_all(found->size());
  }

  // Absent: the end was reached.
  Result<std::optional<std::int64_t>> walk_bounces() {
    struct Word {
      std::int64_t n;
      std::string mailbox;
      std::string diagnostic;
      std::optional<std::int64_t> recipient;
      std::optional<core::Id> message;
    };
    const std::int64_t after = std::max<std::int64_t>(command_.from - 1, 0);
    const auto words =
        all_rows<Word>(tx_.sql(WriterSql::bounce_walk).select(after, command_.limit), [](const Rows& rows) {
          Word word{rows.integer(0), std::string(rows.text(1)), std::string(rows.text(2)), {}, rows.id(4)};
          if (!rows.is_null(3)) word.recipient = rows.integer(3);
          return word;
        });
    if (!words) return tl::unexpected(words.error());
    for (const Word& word : *words) {
      if (!names(word.mailbox) && !names(word.diagnostic)) continue;
      if (auto hushed = count(tx_.sql(WriterSql::bounce_hush).run(word.n)); !hushed)
        return tl::unexpected(hushed.error());
      if (auto hushed = hush_others(word.recipient, word.message); !hushed)
        return tl::unexpected(hushed.error());
    }
    if (is_all(words->size())) return std::optional<std::int64_t>{};
    return std::optional(words->back().n + 1);
  }

  // The same words stand with the mail of somebody else, and in what is known of him.
  Result<> hush_others(std::optional<std::int64_t> recipient, const std::optional<core::Id>& message) {
    if (recipient) {
      if (auto hushed = tx_.sql(WriterSql::evidence_hush).run(*recipient); !hushed) return hushed;
    }
    if (!message) return {};
    const auto found = tx_.message(*message);
    if (!found && found.error().code != core::Errc::corrupt) return tl::unexpected(found.error());
    if (!found || !*found) return {};
    if (auto hushed = tx_.sql(WriterSql::message_hush).run((*found)->n); !hushed) return hushed;
    return hush((*found)->challenge.value_or((*found)->id));
  }

  // Some spelling of it stands in the text.
  [[nodiscard]] bool names(std::string_view text) const {
    for (std::size_t at = text.find('@'); at != std::string_view::npos; at = text.find('@', at + 1)) {
      const auto inside = [](char c) {
        return c > ' ' && std::string_view("<>()[]{},;:\"'").find(c) == std::string_view::npos;
      };
      std::size_t from = at;
      while (from > 0 && inside(text[from - 1]))
        --from;
      std::size_t to = at + 1;
      while (to < text.size() && inside(text[to]))
        ++to;
      while (to > at + 1 && text[to - 1] == '.')
        --to;
      // "rcpt=a@b", "/a@b": what stands before may be no part of it.
      for (std::size_t begin = from; begin < at;) {
        const auto address = core::parse_address(text.substr(begin, to - begin));
        if (address && is_meant(*address)) return true;
        const std::size_t next = text.find_first_of("=/?&|", begin);
        begin = next < at ? next + 1 : at;
      }
    }
    return false;
  }

  Result<> tell() {
    const std::int64_t rows = command_.rows_before + removed_;
    if (rows == 0) return {};
    // Copies that SQLite moved may lie in its pages yet: see vacuum_if_erased().
    if (auto wanted = tx_.sql(WriterSql::counter_add).run(k_erased_rows, rows); !wanted) return wanted;
    Detail detail;
    const std::string app;
    return tx_.append(RecipientNews::erased, {app, {}, {}}, cause_, detail.add("rows", rows).take());
  }

  Result<> count(Result<> done) {
    if (done) removed_ += tx_.writer().db.changed();
    return done;
  }
  [[nodiscard]] bool is_all(std::size_t found) const { return std::cmp_less(found, command_.limit); }

  Transaction& tx_;
  const core::Erase& command_;
  Cause cause_;
  std::int64_t removed_ = 0;
};

}  // namespace

Result<core::Answer> erase(Transaction& tx, const core::Erase& command) {
  return Erasure(tx, command).run();
}

Result<> vacuum_if_erased(Writer& writer) {
  {
    Rows rows = writer.sql[WriterSql::counter_get].select(k_erased_rows);
    const auto found = rows.next();
    if (!found) return tl::unexpected(found.error());
    if (!*found) return {};
  }
  if (auto done = writer.db.exec("VACUUM"); !done) return done;
  return writer.sql[WriterSql::counter_forget].run(k_erased_rows);
}

}  // namespace mailotp::store
