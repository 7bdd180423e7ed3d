// The bounce mailbox: each mail once, whatever happens to its place; what is moved, and what is left alone.
#include <catch2/catch.hpp>

#include "tests/store/bounce_fixture.h"
#include "tests/store/fault_file.h"

namespace mailotp::store::test {

using namespace std::chrono_literals;
using core::BounceClass;
using core::BounceKind;
using core::MailFate;

namespace {

struct MailboxFixture : BounceFixture {
  void moved(std::vector<std::uint32_t> uids, std::uint32_t uidvalidity = 1) {
    (void)state_of(core::RecordMoved{now, {uidvalidity, std::move(uids)}});
  }
  MailFate poison(core::MailUid mail) {
    const core::Outcome outcome = run(core::RecordPoison{now, mail});
    REQUIRE(outcome);
    REQUIRE(std::holds_alternative<core::MailFiled>(*outcome));
    return std::get<core::MailFiled>(*outcome).fate;
  }
  static std::vector<std::uint32_t> uids(const core::MailboxState& state) {
    std::vector<std::uint32_t> out;
    for (const core::MailToMove& one : state.moves)
      out.push_back(one.uid);
    return out;
  }
};

using Uids = std::vector<std::uint32_t>;

}  // namespace

TEST_CASE("a mailbox that is opened for the first time is read from its start") {
  MailboxFixture f;
  const core::MailboxState state = f.open_mailbox();
  CHECK(state.after_uid == 0);
  CHECK(state.moves.empty());
  CHECK(state.foreign == 0);
}

TEST_CASE("what is committed and not moved is moved after a restart, and counts once") {
  MailboxFixture f;
  (void)f.open_mailbox();
  const core::Id id = f.relayed().message->id;
  const core::MailRead bounce = f.about(id);
  const core::MailRead reply = f.about(id, BounceClass::unknown, BounceKind::auto_reply);
  CHECK(f.file(bounce) == MailFate::processed);
  CHECK(f.file(reply) == MailFate::unrecognised);
  f.close();
  f.open();
  core::MailboxState state = f.open_mailbox();
  CHECK(state.after_uid == 2);
  REQUIRE(MailboxFixture::uids(state) == Uids{1, 2});
  CHECK(state.moves[0].fate == MailFate::processed);
  CHECK(state.moves[1].fate == MailFate::unrecognised);
  // The agent died between the answer and the move, and reads it again.
  CHECK(f.file(bounce) == MailFate::processed);
  CHECK(f.last.bounces.empty());
  f.moved({1});
  CHECK(MailboxFixture::uids(f.open_mailbox()) == Uids{2});
  f.moved({2, 77});
  CHECK(f.open_mailbox().moves.empty());
  CHECK(f.bounces().size() == 2);
}

TEST_CASE("another uidvalidity: everything is looked at anew, and known by its hash") {
  MailboxFixture f;
  (void)f.open_mailbox(1);
  const core::Id id = f.relayed().message->id;
  core::MailRead bounce = f.about(id);
  core::MailRead foreign = f.mail(BounceKind::none);
  foreign.addressed = false;
  CHECK(f.file(bounce) == MailFate::processed);
  CHECK(f.file(foreign) == MailFate::leave);
  const core::MailboxState state = f.open_mailbox(2);
  CHECK(state.after_uid == 0);
  CHECK(state.foreign == 0);
  CHECK(state.moves.empty());  // by its old number it cannot be
  bounce.mail = {2, 9};
  foreign.mail = {2, 10};
  CHECK(f.file(bounce) == MailFate::processed);
  CHECK(f.last.bounces.empty());
  CHECK(f.file(foreign) == MailFate::leave);
  CHECK(f.bounces().size() == 1);
  CHECK(f.stats().bounces.at("user-unknown") == 1);
  const core::MailboxState again = f.open_mailbox(2);
  CHECK(again.after_uid == 10);
  CHECK(again.foreign == 1);
  CHECK(MailboxFixture::uids(again) == Uids{9});
}

TEST_CASE("a copy of a known mail is moved as well and counts no more") {
  MailboxFixture f;
  (void)f.open_mailbox();
  core::MailRead bounce = f.about(f.relayed().message->id);
  CHECK(f.file(bounce) == MailFate::processed);
  bounce.mail.uid = f.next_uid++;
  CHECK(f.file(bounce) == MailFate::processed);
  CHECK(f.bounces().size() == 1);
  CHECK(MailboxFixture::uids(f.open_mailbox()) == Uids{1, 2});
  // One that somebody puts back where it was is moved once more.
  f.moved({1, 2});
  CHECK(f.file(bounce) == MailFate::processed);
  CHECK(MailboxFixture::uids(f.open_mailbox()) == Uids{2});
}

TEST_CASE("a server that gives a number out twice: the other mail is read, the first one stays known") {
  MailboxFixture f;
  (void)f.open_mailbox();
  const core::MailRead first = f.about(f.relayed().message->id);
  CHECK(f.file(first) == MailFate::processed);
  core::MailRead second = f.about(f.relayed("bob@example.org").message->id);
  second.mail = first.mail;
  CHECK(f.file(second) == MailFate::processed);
  CHECK(f.bounces().size() == 2);
  core::MailRead again = first;
  again.mail.uid = 70;
  CHECK(f.file(again) == MailFate::processed);
  CHECK(f.bounces().size() == 2);
}

TEST_CASE("a person's mail is left alone, counted once, and leaves no row") {
  MailboxFixture f;
  (void)f.open_mailbox();
  (void)f.relayed();
  Database db(f.database_path());
  for (int i = 0; i < 30; ++i) {
    // A bounce of somebody else's mail too.
    core::MailRead mail = f.mail(i % 2 == 0 ? BounceKind::none : BounceKind::bounce);
    mail.addressed = false;
    CHECK(f.file(mail) == MailFate::leave);
    CHECK(f.file(mail) == MailFate::leave);
  }
  const core::MailboxState state = f.open_mailbox();
  CHECK(state.foreign == 30);
  CHECK(state.after_uid == 30);
  CHECK(state.moves.empty());
  CHECK(db.value("SELECT count(*) FROM mail") == "0");
  CHECK(f.bounces().empty());
}

TEST_CASE("mail that is not addressed to us and carries a valid token is ours") {
  MailboxFixture f;
  const core::Id id = f.relayed().message->id;
  core::MailRead bounce = f.about(id);
  bounce.addressed = false;
  CHECK(f.file(bounce) == MailFate::processed);
  CHECK(f.told(id) == "bounced user-unknown");
}

TEST_CASE("[bounces] foreign = move: what is not ours goes to unrecognised, and into no ledger") {
  MailboxFixture f;
  f.close();
  f.foreign = core::ForeignMail::move;
  f.open();
  (void)f.open_mailbox();
  core::MailRead mail = f.mail(BounceKind::bounce);
  mail.addressed = false;
  CHECK(f.file(mail) == MailFate::unrecognised);
  const core::MailboxState state = f.open_mailbox();
  CHECK(state.foreign == 0);
  CHECK(MailboxFixture::uids(state) == Uids{1});
  CHECK(f.bounces().empty());
}

TEST_CASE("a mail that killed its reader is moved unread, and counted once") {
  MailboxFixture f;
  (void)f.open_mailbox();
  CHECK(f.poison({1, 4}) == MailFate::unrecognised);
  CHECK(f.poison({1, 4}) == MailFate::unrecognised);
  const core::MailboxState state = f.open_mailbox();
  CHECK(state.after_uid == 4);
  CHECK(MailboxFixture::uids(state) == Uids{4});
  CHECK(Database(f.database_path()).value("SELECT value FROM counter WHERE name = 'unread_mails_total'") ==
        "1");
  // It is read after all (by an agent that had it in hand already): what was decided stands.
  core::MailRead late = f.about(f.relayed().message->id);
  late.mail = {1, 4};
  CHECK(f.file(late) == MailFate::unrecognised);
  CHECK(f.bounces().empty());
}

TEST_CASE("moves left over are given out five hundred at a time, until each is done") {
  MailboxFixture f;
  (void)f.open_mailbox();
  std::vector<core::Command> batch;
  for (std::uint32_t uid = 1; uid <= 1201; ++uid)
    batch.emplace_back(core::RecordPoison{f.now, {1, uid}});
  (void)f.commit(std::move(batch));
  Uids given;
  core::MailboxState state = f.open_mailbox();
  int answers = 1;
  while (!state.moves.empty()) {
    REQUIRE(state.moves.size() <= core::k_mails_a_fact);
    // The agent has moved a part of them; the rest is named again.
    Uids some = MailboxFixture::uids(state);
    some.resize(std::min<std::size_t>(some.size(), 300));
    given.insert(given.end(), some.begin(), some.end());
    // What is decided meanwhile has its own answer.
    if (answers == 1) (void)f.poison({1, 2000});
    state = f.state_of(core::RecordMoved{f.now, {1, some}});
    REQUIRE(++answers < 10);
  }
  Uids all(1201);
  for (std::uint32_t i = 0; i < 1201; ++i)
    all[i] = i + 1;
  CHECK(given == all);
  CHECK(MailboxFixture::uids(f.open_mailbox()) == Uids{2000});
}

TEST_CASE("a batch of mails in one commit is filed as one by one") {
  MailboxFixture f;
  (void)f.open_mailbox();
  std::vector<core::Id> ids;
  std::vector<core::Command> batch;
  core::MailRead mail;
  for (int i = 0; i < 50; ++i) {
    ids.push_back(f.relayed("u" + std::to_string(i) + "@example.org").message->id);
    mail = f.about(ids.back());
    batch.emplace_back(core::RecordMail{f.now, mail});
  }
  batch.emplace_back(core::RecordMail{f.now, mail});
  const core::Committed out = f.commit(std::move(batch));
  CHECK(out.bounces.size() == 50);
  for (const core::Id& id : ids)
    CHECK(f.told(id) == "bounced user-unknown");
  CHECK(f.stats().bounces.at("user-unknown") == 50);
}

TEST_CASE("a mail about a message that cannot be read is filed all the same, and keeps no other waiting") {
  MailboxFixture f;
  (void)f.open_mailbox();
  const core::Id bad = f.relayed().message->id;
  const core::Id good = f.relayed("bob@example.org").message->id;
  Database(f.database_path()).run("UPDATE message SET verdict_kind = 99 WHERE mailbox = 'alice@example.org'");
  std::vector<core::Command> batch;
  batch.emplace_back(core::RecordMail{f.now, f.about(bad)});
  batch.emplace_back(core::RecordMail{f.now, f.about(good)});
  const core::Committed out = f.commit(std::move(batch));
  for (const core::Outcome& outcome : out.outcomes) {
    REQUIRE(outcome);
    CHECK(std::get<core::MailFiled>(*outcome).fate == MailFate::processed);
  }
  CHECK(f.told(good) == "bounced user-unknown");
  CHECK(f.bounces().size() == 2);
  CHECK_FALSE(f.suppressed());
}

TEST_CASE("a mail that could not be committed has changed nothing, and counts once when it is") {
  FaultFiles files;
  int first = 0;
  bool struck = true;
  // The first write fails, then the second, and so on until a run has none.
  for (; struck; ++first) {
    REQUIRE(first < 500);
    CAPTURE(first);
    MailboxFixture f;
    (void)f.open_mailbox();
    const core::Id id = f.relayed().message->id;
    const core::MailRead mail = f.about(id);
    files.fail_from(first, FaultKind::write_error);
    const core::Outcome outcome = f.run(core::RecordMail{f.now, mail});
    struck = files.struck();
    files.stop_failing();
    f.close();
    f.open();
    CHECK(f.told(id) == (outcome ? "bounced user-unknown" : "relayed"));
    CHECK(f.suppressed() == outcome.has_value());
    CHECK(f.bounces().size() == (outcome ? 1U : 0U));
    const core::MailboxState state = f.open_mailbox();
    CHECK(state.after_uid == (outcome ? 1U : 0U));
    CHECK(state.moves.size() == (outcome ? 1U : 0U));
    CHECK(f.file(mail) == MailFate::processed);
    CHECK(f.told(id) == "bounced user-unknown");
    CHECK(f.bounces().size() == 1);
    CHECK(f.stats().bounces.at("user-unknown") == 1);
    CHECK(f.suppressions()[0].times == 1);
  }
  CHECK(first > 2);
}

TEST_CASE("no mail of a batch overtakes an earlier one that could not be committed") {
  FaultFiles files;
  int failed = 0;
  for (const int count : {1, 2, 3}) {
    bool struck = true;
    for (int first = 0; struck; ++first) {
      REQUIRE(first < 500);
      CAPTURE(first, count);
      MailboxFixture f;
      (void)f.open_mailbox();
      std::vector<core::Command> batch;
      for (const char* recipient : {"alice@example.org", "bob@example.org"})
        batch.emplace_back(core::RecordMail{f.now, f.about(f.relayed(recipient).message->id)});
      files.fail_from(first, FaultKind::disk_full, count);
      const core::Committed out = f.commit(std::move(batch));
      struck = files.struck();
      files.stop_failing();
      REQUIRE(out.outcomes.size() == 2);
      failed += out.outcomes[0] ? 0 : 1;
      CHECK((out.outcomes[0] || !out.outcomes[1]));
    }
  }
  CHECK(failed > 0);
}

}  // namespace mailotp::store::test
