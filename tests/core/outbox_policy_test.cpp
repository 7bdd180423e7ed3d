#include "core/outbox_policy.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/core/outbox_rows.h"

namespace mailotp::core {
namespace {

using test::k_now;
using test::reply;
using test::row_in;

using Meaning = ReplyMeaning;

TEST_CASE("what a reply means, stage by stage") {
  struct Row {
    Stage stage;
    Reply reply;
    Meaning meaning;
  };
  for (const Row& row : std::vector<Row>{
           // Transient.
           {Stage::mail, reply(450), Meaning::retry},
           {Stage::mail, reply(451, "4.3.0"), Meaning::retry},
           {Stage::mail, reply(452, "4.3.1"), Meaning::retry},
           {Stage::rcpt, reply(450, "4.2.1", "mailbox busy"), Meaning::retry},
           {Stage::rcpt, reply(452, "4.2.2", "mailbox full"), Meaning::retry},
           {Stage::rcpt, reply(452, "4.5.3", "too many recipients"), Meaning::retry},
           {Stage::data, reply(451), Meaning::retry},
           {Stage::dot, reply(451), Meaning::retry},
           {Stage::dot, reply(452), Meaning::retry},
           {Stage::rcpt, reply(400), Meaning::retry},
           {Stage::rcpt, reply(499), Meaning::retry},
           // Greylisting: the code and either a status or a word.
           {Stage::rcpt, reply(450, "4.7.1"), Meaning::greylist},
           {Stage::rcpt, reply(451, "4.7.1"), Meaning::greylist},
           {Stage::rcpt, reply(451, "4.7.0"), Meaning::greylist},
           {Stage::rcpt, reply(450, "4.2.0"), Meaning::greylist},
           {Stage::rcpt, reply(451, "", "Greylisted, see http://x"), Meaning::greylist},
           {Stage::rcpt, reply(450, "4.3.0", "GRAY-listing in action"), Meaning::greylist},
           {Stage::rcpt, reply(451, "", "Please Try Again later"), Meaning::greylist},
           {Stage::mail, reply(451, "4.7.1"), Meaning::greylist},
           {Stage::dot, reply(451, "4.7.1", "greylisted"), Meaning::greylist},
           {Stage::rcpt, reply(452, "4.7.1", "greylisted"), Meaning::retry},
           {Stage::rcpt, reply(421, "4.7.1", "greylisted"), Meaning::session},
           {Stage::rcpt, reply(550, "5.7.1", "greylisted"), Meaning::next_relay},
           // About the session, wherever it comes.
           {Stage::greeting, reply(554), Meaning::session},
           {Stage::greeting, reply(421), Meaning::session},
           {Stage::ehlo, reply(502), Meaning::session},
           {Stage::starttls, reply(454), Meaning::session},
           {Stage::auth, reply(535, "5.7.8"), Meaning::session},
           {Stage::auth, reply(454), Meaning::session},
           {Stage::mail, reply(421), Meaning::session},
           {Stage::rcpt, reply(421, "4.3.2"), Meaning::session},
           {Stage::data, reply(421), Meaning::session},
           {Stage::dot, reply(421), Meaning::session},
           {Stage::mail, reply(530, "5.7.0"), Meaning::next_relay},
           {Stage::mail, reply(535), Meaning::next_relay},
           {Stage::data, reply(503), Meaning::retry},
           {Stage::data, reply(554, "5.5.1", "no valid recipients"), Meaning::retry},
           // Not a refusal at all: the session is in a muddle.
           {Stage::mail, reply(0), Meaning::session},
           {Stage::rcpt, reply(250), Meaning::session},
           {Stage::mail, reply(354), Meaning::session},
           {Stage::rcpt, reply(600), Meaning::session},
           {Stage::rcpt, reply(-550), Meaning::session},
           // Permanent.
           {Stage::mail, reply(550, "5.1.8"), Meaning::next_relay},
           {Stage::mail, reply(552, "5.3.4"), Meaning::next_relay},
           {Stage::mail, reply(553), Meaning::next_relay},
           {Stage::rcpt, reply(550, "5.1.1"), Meaning::fail},
           {Stage::rcpt, reply(551), Meaning::fail},
           {Stage::rcpt, reply(553), Meaning::fail},
           {Stage::rcpt, reply(554), Meaning::next_relay},
           {Stage::rcpt, reply(556, "5.1.10"), Meaning::fail},
           {Stage::rcpt, reply(550, "5.2.2"), Meaning::fail},
           {Stage::rcpt, reply(552, "5.2.2", "mailbox full"), Meaning::fail},
           {Stage::rcpt, reply(550, "5.7.17"), Meaning::fail},
           {Stage::rcpt, reply(554, "5.7.1", "relay access denied"), Meaning::next_relay},
           {Stage::dot, reply(550, "5.1.1"), Meaning::fail},
           {Stage::mail, reply(550, "5.1.7"), Meaning::next_relay},
           {Stage::dot, reply(550, "5.2.3", "too long"), Meaning::next_relay},
           {Stage::dot, reply(550, "5.7.1"), Meaning::next_relay},
           {Stage::dot, reply(552, "5.2.2"), Meaning::fail},
           {Stage::dot, reply(552), Meaning::next_relay},
           {Stage::dot, reply(554, "5.6.0"), Meaning::next_relay},
           // The words tell the recipient's trouble from the relay's.
           {Stage::rcpt, reply(550, "5.7.1", "Client host [192.0.2.7] blocked using zen.example.org"),
            Meaning::next_relay},
           {Stage::rcpt, reply(550, "", "message refused for policy reasons"), Meaning::next_relay},
           {Stage::rcpt, reply(550, "", "Relay access denied"), Meaning::next_relay},
           {Stage::rcpt, reply(550, "", "SPF check failed for your domain"), Meaning::next_relay},
           {Stage::rcpt, reply(550, "", "sender address rejected: domain not found"), Meaning::next_relay},
           {Stage::rcpt, reply(550, "", "internal system error"), Meaning::next_relay},
           {Stage::rcpt, reply(554, "", "no such user here"), Meaning::fail},
           {Stage::rcpt, reply(554, "5.7.1", "user unknown in relay recipient table"), Meaning::fail},
           {Stage::rcpt, reply(550, "5.5.0", "mailbox unavailable"), Meaning::fail},
           {Stage::rcpt, reply(552, "", "the mailbox is full"), Meaning::fail},
           {Stage::rcpt, reply(452, "", "the mailbox is full"), Meaning::retry},
           {Stage::dot, reply(554, "", "the mailbox is full"), Meaning::fail},
           {Stage::dot, reply(554, "", "this looks like spam"), Meaning::next_relay},
           // RFC 5321 section 4.5.3.1.10.
           {Stage::rcpt, reply(552), Meaning::retry},
           {Stage::rcpt, reply(552, "5.5.3", "too many recipients"), Meaning::retry},
       }) {
    CAPTURE(to_string(row.stage), row.reply.code, row.reply.status, row.reply.text);
    CHECK(static_cast<int>(meaning_of(row.stage, row.reply)) == static_cast<int>(row.meaning));
  }
}

TEST_CASE("no reply of a session stage ever judges a message, no 4yz ever fails one") {
  for (int s = 0; s < k_stages; ++s) {
    for (int code = 0; code < 700; ++code) {
      const auto stage = static_cast<Stage>(s);
      const Meaning meaning = meaning_of(stage, reply(code));
      if (is_session_stage(stage) || code < 400 || code > 599) {
        if (meaning != Meaning::session) FAIL(s << " " << code);
      }
      if (meaning == Meaning::fail && code < 500) FAIL(s << " " << code);
    }
  }
}

TEST_CASE("hints of greylisting") {
  struct Row {
    std::string text;
    std::optional<Millis> hint;
  };
  const auto seconds = [](int n) { return std::optional<Millis>{Seconds{n}}; };
  for (const Row& row : std::vector<Row>{
           {"", {}},
           {"greylisted", {}},
           {"try again in 5 seconds", seconds(5)},
           {"Try again in 5 SECONDS", seconds(5)},
           {"wait 2 minutes", seconds(120)},
           {"retry in 1 minute", seconds(60)},
           {"Greylisted for 300 seconds (see http://x/y)", seconds(300)},
           {"greylisted, retry=60s", seconds(60)},
           {"come back in 90 s", seconds(90)},
           {"come back (300s) please", seconds(300)},
           {"in 45sec", seconds(45)},
           {"in 15min", seconds(900)},
           {"in 0 seconds", seconds(0)},
           {"in 3600 seconds", seconds(3600)},
           {"in 60 minutes", seconds(3600)},
           // More than an hour is no hint; a later one may be.
           {"in 3601 seconds", {}},
           {"in 61 minutes", {}},
           {"in 99999999999999999999 seconds", {}},
           {"in 100000 seconds", {}},
           {"in 18446744073709551621 seconds", {}},  // 2^64 + 5
           {"in 7200 seconds or 5 minutes", seconds(300)},
           // Digits that are no time.
           {"4.7.1 greylisted", {}},
           {"451 4.7.1 <a1@b.example> from 192.0.2.1: try again later", {}},
           {"error 42", {}},
           {"error 42 something", {}},
           {"x5 seconds", {}},
           {"-5 seconds", {}},
           {"0:05 minutes", {}},
           {"2 hours", {}},
           {"3 servers", {}},
           {"5", {}},
           {"192.0.2.1 greylisted for 4 minutes", seconds(240)},
       }) {
    CAPTURE(row.text);
    const auto hint = greylist_hint(row.text);
    CHECK(hint.has_value() == row.hint.has_value());
    if (hint && row.hint) CHECK(hint->count() == row.hint->count());
  }
}

TEST_CASE("a hint comes with two seconds more, else the schedule") {
  const DeliveryPolicy policy;
  CHECK(greylist_pause(policy, 1, reply(451, "", "in 5 seconds")) == Seconds{7});
  CHECK(greylist_pause(policy, 4, reply(451, "", "in 5 seconds")) == Seconds{7});
  const std::vector<int> schedule{60, 60, 180, 305, 425, 425};
  for (std::uint32_t tries = 0; tries < schedule.size(); ++tries)
    CHECK(greylist_pause(policy, tries, reply(451)) == Seconds{schedule[tries]});
  CHECK(greylist_pause(policy, 0xffffffff, reply(451)) == Seconds{425});
}

TEST_CASE("pauses between tries, with jitter around them") {
  DeliveryPolicy policy;
  const std::vector<int> schedule{1, 1, 3, 8, 15, 30, 60, 60};
  test::SeededRandom jitter(12);
  for (std::uint32_t tries = 0; tries < schedule.size(); ++tries) {
    const Millis base = Seconds{schedule[tries]};
    for (int i = 0; i < 200; ++i) {
      const Millis pause = retry_pause(policy, MessageKind::otp, tries, jitter);
      if (pause < base * 80 / 100 || pause > base * 120 / 100) FAIL(tries << ": " << pause.count());
    }
  }
  test::ScriptedRandom lowest({0}), highest({40});
  CHECK(retry_pause(policy, MessageKind::otp, 6, lowest) == Seconds{48});
  CHECK(retry_pause(policy, MessageKind::otp, 6, highest) == Seconds{72});
  policy.jitter_percent = 0;
  const int drawn = jitter.fills();
  CHECK(retry_pause(policy, MessageKind::otp, 0xffffffff, jitter) == Seconds{60});
  CHECK(jitter.fills() == drawn);
}

TEST_CASE("the default schedule tries about twelve times in the nine minutes of a code") {
  test::SeededRandom jitter(13);
  std::uint32_t tries = 0;
  for (Millis at{0}; at < Seconds{540}; at += retry_pause(test::no_jitter(), MessageKind::otp, tries, jitter))
    ++tries;
  CHECK(tries >= 12);
  CHECK(tries <= 14);
}

TEST_CASE("verdicts of refusals") {
  struct Row {
    Stage stage;
    Reply reply;
    VerdictKind kind;
    std::string verdict_class;
  };
  const auto undeliverable = VerdictKind::undeliverable, refused = VerdictKind::refused;
  for (const Row& row : std::vector<Row>{
           {Stage::rcpt, reply(550, "5.1.1"), undeliverable, "user-unknown"},
           {Stage::rcpt, reply(550, "5.1.3"), undeliverable, "user-unknown"},
           {Stage::rcpt, reply(551, "5.1.6"), undeliverable, "user-unknown"},
           {Stage::rcpt, reply(550), undeliverable, "user-unknown"},
           {Stage::rcpt, reply(551), undeliverable, "user-unknown"},
           {Stage::rcpt, reply(553), undeliverable, "user-unknown"},
           {Stage::rcpt, reply(550, "5.0.0"), undeliverable, "user-unknown"},
           {Stage::rcpt, reply(550, "5.7.17"), undeliverable, "user-unknown"},
           {Stage::rcpt, reply(550, "5.1.2"), undeliverable, "host-unknown"},
           {Stage::rcpt, reply(550, "5.4.4"), undeliverable, "host-unknown"},
           {Stage::rcpt, reply(556, "5.1.10"), undeliverable, "host-not-accepting"},
           {Stage::rcpt, reply(554, "5.3.2"), undeliverable, "host-not-accepting"},
           {Stage::rcpt, reply(550, "5.2.1"), undeliverable, "mailbox-disabled"},
           {Stage::rcpt, reply(550, "5.7.13"), undeliverable, "mailbox-disabled"},
           {Stage::rcpt, reply(550, "5.2.0"), undeliverable, "recipient-filtered"},
           {Stage::rcpt, reply(552, "5.2.2"), undeliverable, "mailbox-full"},
           {Stage::dot, reply(552, "5.2.2"), undeliverable, "mailbox-full"},
           {Stage::rcpt, reply(554, "5.4.7"), undeliverable, "expired"},
           {Stage::rcpt, reply(550, "5.7.1"), refused, "policy"},
           {Stage::rcpt, reply(550, "5.7.606"), refused, "ip-blocked"},
           {Stage::rcpt, reply(554), refused, "policy"},
           {Stage::mail, reply(550, "5.1.8"), refused, "sender-rejected"},
           {Stage::mail, reply(553, "5.1.7"), refused, "sender-rejected"},
           {Stage::mail, reply(550), refused, "sender-rejected"},
           {Stage::mail, reply(550, "5.7.1"), refused, "sender-rejected"},
           {Stage::mail, reply(552, "5.3.4"), refused, "content"},
           {Stage::mail, reply(552), refused, "content"},
           {Stage::dot, reply(552), refused, "content"},
           {Stage::dot, reply(552, "5.2.3"), refused, "content"},
           {Stage::dot, reply(554), refused, "content"},
           {Stage::dot, reply(550), refused, "content"},
           {Stage::dot, reply(554, "5.6.0"), refused, "content"},
           {Stage::dot, reply(550, "5.7.1"), refused, "policy"},
           {Stage::rcpt, reply(550, "nonsense"), undeliverable, "user-unknown"},
       }) {
    CAPTURE(to_string(row.stage), row.reply.code, row.reply.status);
    const Verdict verdict = refusal_verdict(row.stage, row.reply, k_now);
    CHECK(to_string(verdict.kind) == to_string(row.kind));
    CHECK(verdict.verdict_class == row.verdict_class);
    CHECK(verdict.permanent);
    CHECK(verdict.status == row.reply.status);
    CHECK(verdict.detail == "text");
    CHECK(to_string(verdict.source) == "smtp");
    CHECK(verdict.at == k_now);
  }
}

TEST_CASE("the words of a refusal give its verdict") {
  struct Row {
    Stage stage;
    Reply reply;
    VerdictKind kind;
    std::string verdict_class;
  };
  const auto undeliverable = VerdictKind::undeliverable, refused = VerdictKind::refused;
  for (const Row& row : std::vector<Row>{
           {Stage::rcpt, reply(550, "", "no such user here"), undeliverable, "user-unknown"},
           {Stage::rcpt, reply(554, "5.7.1", "recipient address rejected: user unknown"), undeliverable,
            "user-unknown"},
           {Stage::rcpt, reply(550, "", "account has been disabled"), undeliverable, "mailbox-disabled"},
           {Stage::rcpt, reply(552, "", "over quota"), undeliverable, "mailbox-full"},
           {Stage::rcpt, reply(550, "5.7.1", "blocked using bl.example.org"), refused, "ip-blocked"},
           {Stage::rcpt, reply(550, "", "relay access denied"), refused, "policy"},
           {Stage::rcpt, reply(550, "", "DMARC check failed"), refused, "auth"},
           {Stage::rcpt, reply(550, "", "sender verify failed"), refused, "sender-rejected"},
           {Stage::rcpt, reply(550, "", "too many connections from you"), refused, "rate-limited"},
           {Stage::mail, reply(530, "", "must issue a STARTTLS command first"), refused, "security"},
           {Stage::dot, reply(554, "", "message appears to be spam"), refused, "spam"},
           {Stage::dot, reply(554, "", "virus found"), refused, "content"},
           // One class for all that is wrong with our mail itself.
           {Stage::dot, reply(554, "5.3.4", "message too large"), refused, "content"},
       }) {
    CAPTURE(to_string(row.stage), row.reply.code, row.reply.status, row.reply.text);
    const Verdict verdict = refusal_verdict(row.stage, row.reply, k_now);
    CHECK(to_string(verdict.kind) == to_string(row.kind));
    CHECK(verdict.verdict_class == row.verdict_class);
    CHECK(verdict.permanent);
  }
}

TEST_CASE("the text of a verdict is bounded") {
  const std::string text(500, 'x');
  CHECK(refusal_verdict(Stage::rcpt, reply(550, "", text), k_now).detail.size() == 300);
  CHECK(greylisted_verdict(reply(450, "", text), k_now).detail.size() == 300);
  MessageRow row = row_in(MessageState::deferred);
  row.reply = reply(450, "", text);
  CHECK(expiry_verdict(row, k_now).detail.size() == 300);
}

TEST_CASE("the verdict of an expired message is ours, with the last reply for people") {
  MessageRow row = row_in(MessageState::deferred);
  Verdict verdict = expiry_verdict(row, k_now);
  CHECK(to_string(verdict.kind) == "unsent");
  CHECK(verdict.verdict_class == "expired");
  CHECK(to_string(verdict.source) == "policy");
  CHECK_FALSE(verdict.permanent);
  CHECK(verdict.status == "4.3.0");
  CHECK(verdict.detail.find("; last: earlier") != std::string::npos);
  row.reply.reset();
  verdict = expiry_verdict(row, k_now);
  CHECK(verdict.status.empty());
  CHECK(verdict.detail.find("last:") == std::string::npos);
}

TEST_CASE("a greylisted verdict says later, not never") {
  const Verdict verdict = greylisted_verdict(reply(450, "4.2.0", "later"), k_now);
  CHECK(to_string(verdict.kind) == "delayed");
  CHECK(verdict.verdict_class == "greylisted");
  CHECK_FALSE(verdict.permanent);
  CHECK(verdict.status == "4.2.0");
  CHECK(to_string(verdict.source) == "smtp");
}

}  // namespace
}  // namespace mailotp::core
