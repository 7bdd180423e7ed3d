// What a bounce counts for, as tables: tokens, classes, second words, levels.
#include "core/bounce_rules.h"

#include <catch2/catch.hpp>

#include "core/bounce_class.h"

namespace mailotp::core {
namespace {

using enum BounceClass;
using namespace std::chrono_literals;
using Weight = VerdictWeight;

constexpr WallTime k_now = from_unix_ms(1'795'000'000'000);

BounceEvent failure(BounceClass bounce_class) {
  return {.source = BounceSource::dsn,
          .kind = BounceKind::bounce,
          .bounce_class = bounce_class,
          .permanent = true,
          .null_mx = false};
}

Judgement judged(const BounceEvent& event, const std::vector<PastBounce>& past = {},
                 Correlation correlation = Correlation::message,
                 const VerdictTable& table = verdict_table()) {
  return judge(event, correlation, true, past, table, k_now);
}

TEST_CASE("what the tokens of a mail prove") {
  struct Line {
    ReturnedTokens tokens;
    Correlation correlation;
    TracedBy by;
  };
  for (const Line& line : std::vector<Line>{
           {{0, 0, true}, Correlation::nothing, TracedBy::nothing},
           {{1, 0, true}, Correlation::message, TracedBy::message_token},
           {{0, 1, true}, Correlation::recipient, TracedBy::recipient_token},
           {{1, 1, true}, Correlation::message, TracedBy::both},
           {{1, 1, false}, Correlation::contradictory, TracedBy::both},
           {{2, 0, true}, Correlation::contradictory, TracedBy::message_token},
           {{2, 1, true}, Correlation::contradictory, TracedBy::both},
           {{0, 2, true}, Correlation::contradictory, TracedBy::recipient_token},
           {{1, 2, true}, Correlation::contradictory, TracedBy::both},
       }) {
    CAPTURE(line.tokens.messages, line.tokens.recipients, line.tokens.agree);
    CHECK(correlate(line.tokens) == line.correlation);
    CHECK(traced_by(line.tokens) == line.by);
  }
}

TEST_CASE("the weight of every class, by the message's token") {
  const std::map<BounceClass, Weight> expected{
      {unknown, Weight::soft},
      {user_unknown, Weight::hard},
      {host_unknown, Weight::soft},        // until the second in a day
      {host_not_accepting, Weight::soft},  // unless the domain says so
      {mailbox_disabled, Weight::soft},    // until the third in three days
      {mailbox_full, Weight::soft},
      {expired, Weight::soft},
      {network, Weight::soft},
      {recipient_filtered, Weight::soft},
      {rate_limited, Weight::soft},
      {greylisted, Weight::none},
      {ip_blocked, Weight::alarm},
      {auth, Weight::alarm},
      {sender_rejected, Weight::alarm},
      {spam, Weight::alarm},
      {content, Weight::alarm},
      {too_large, Weight::alarm},
      {policy, Weight::soft},
      {security, Weight::alarm},
      {system, Weight::soft},
      {BounceClass::suppressed, Weight::soft},
  };
  REQUIRE(expected.size() == k_bounce_classes);
  for (const auto& [bounce_class, weight] : expected) {
    CAPTURE(to_string(bounce_class));
    const Judgement got = judged(failure(bounce_class));
    CHECK(got.weight == weight);
    CHECK(got.tells);
    CHECK(got.suppresses == (weight == Weight::hard));
    CHECK_FALSE(got.proves);
  }
}

TEST_CASE("a class that needs more than one word") {
  const auto past = [](BounceClass bounce_class, std::vector<Millis> ages) {
    std::vector<PastBounce> out;
    for (const Millis age : ages)
      out.push_back({k_now - age, BounceSource::dsn, bounce_class});
    return out;
  };
  CHECK(judged(failure(host_unknown), past(host_unknown, {24h - 1ms})).weight == Weight::hard);
  CHECK(judged(failure(host_unknown), past(host_unknown, {24h})).weight == Weight::soft);
  CHECK(judged(failure(host_unknown), past(user_unknown, {1h})).weight == Weight::soft);
  CHECK(judged(failure(mailbox_disabled), past(mailbox_disabled, {1h})).weight == Weight::soft);
  CHECK(judged(failure(mailbox_disabled), past(mailbox_disabled, {1h, 71h})).weight == Weight::hard);
  CHECK(judged(failure(mailbox_disabled), past(mailbox_disabled, {1h, 72h})).weight == Weight::soft);
  // From when the clock was ahead: no word of the last day for a year.
  CHECK(judged(failure(host_unknown), past(host_unknown, {-1ms})).weight == Weight::soft);
  BounceEvent no_mail = failure(host_not_accepting);
  no_mail.null_mx = true;
  CHECK(judged(no_mail).weight == Weight::hard);
}

TEST_CASE("what the far side calls temporary is never hard; what it does not say is final") {
  for (const BounceClass dead : {user_unknown, host_unknown, host_not_accepting, mailbox_disabled}) {
    CAPTURE(to_string(dead));
    BounceEvent event = failure(dead);
    event.null_mx = true;
    const std::vector<PastBounce> past(3, {k_now - 1h, BounceSource::dsn, dead});
    CHECK(judged(event, past).weight == Weight::hard);
    event.permanent = std::nullopt;
    CHECK(judged(event, past).weight == Weight::hard);
    event.permanent = false;
    CHECK(judged(event, past).weight == Weight::soft);
    CHECK_FALSE(judged(event, past).suppresses);
  }
}

TEST_CASE("a recipient's token alone convinces with the second word within a day") {
  const auto alone = [](const std::vector<PastBounce>& past) {
    return judged(failure(user_unknown), past, Correlation::recipient);
  };
  CHECK(alone({}).tells);
  CHECK(alone({}).weight == Weight::soft);
  CHECK_FALSE(alone({}).suppresses);
  for (const BounceSource source : {BounceSource::dsn, BounceSource::smtp, BounceSource::provider}) {
    CHECK(alone({{k_now - 23h, source, user_unknown}}).suppresses);
    CHECK(alone({{k_now - 23h, source, user_unknown}}).weight == Weight::hard);
    CHECK_FALSE(alone({{k_now - 24h, source, user_unknown}}).suppresses);
    // Another trouble does not agree.
    CHECK_FALSE(alone({{k_now - 1h, source, mailbox_full}}).suppresses);
  }
}

TEST_CASE("no token, tokens that disagree, or no mail that left: no verdict of any class and kind") {
  for (int c = 0; c < k_bounce_classes; ++c) {
    for (int k = 0; k < k_bounce_kinds; ++k) {
      BounceEvent event = failure(static_cast<BounceClass>(c));
      event.kind = static_cast<BounceKind>(k);
      event.null_mx = true;
      const std::vector<PastBounce> past(5, {k_now - 1h, BounceSource::smtp, event.bounce_class});
      for (const auto& [correlation, left] :
           std::vector<std::pair<Correlation, bool>>{{Correlation::nothing, true},
                                                     {Correlation::contradictory, true},
                                                     {Correlation::message, false},
                                                     {Correlation::recipient, false}}) {
        const Judgement got = judge(event, correlation, left, past, verdict_table(), k_now);
        CHECK_FALSE(got.tells);
        CHECK_FALSE(got.suppresses);
        CHECK_FALSE(got.proves);
        CHECK(got.weight == Weight::none);
      }
    }
  }
}

TEST_CASE("delays, auto-replies and reports of abuse never count against an address") {
  for (int c = 0; c < k_bounce_classes; ++c) {
    for (const BounceKind kind : {BounceKind::none, BounceKind::delay, BounceKind::success,
                                  BounceKind::auto_reply, BounceKind::feedback}) {
      BounceEvent event = failure(static_cast<BounceClass>(c));
      event.kind = kind;
      event.null_mx = true;
      const std::vector<PastBounce> past(5, {k_now - 1h, BounceSource::smtp, event.bounce_class});
      for (const Correlation by : {Correlation::message, Correlation::recipient}) {
        const Judgement got = judged(event, past, by);
        CHECK_FALSE(got.suppresses);
        CHECK(got.tells == (kind == BounceKind::delay || kind == BounceKind::success));
        CHECK(got.proves == (kind == BounceKind::success && by == Correlation::message));
        CHECK(got.weight == (kind == BounceKind::feedback ? Weight::alarm : Weight::none));
      }
    }
  }
}

TEST_CASE("only a hard weight suppresses, whatever came before") {
  for (int c = 0; c < k_bounce_classes; ++c) {
    const auto bounce_class = static_cast<BounceClass>(c);
    const std::vector<PastBounce> past(9, {k_now - 1min, BounceSource::smtp, bounce_class});
    for (const Correlation by : {Correlation::message, Correlation::recipient}) {
      const Judgement got = judged(failure(bounce_class), past, by);
      CHECK(got.suppresses == (got.weight == Weight::hard));
      const bool may_be_dead =
          bounce_class == user_unknown || bounce_class == host_unknown || bounce_class == mailbox_disabled;
      CHECK(got.suppresses == may_be_dead);
    }
  }
}

TEST_CASE("[verdict] replaces a row of the table with its conditions") {
  const VerdictTable table = verdict_table({{"host-unknown", Weight::hard},
                                            {"user-unknown", Weight::alarm},
                                            {"mailbox-full", Weight::none},
                                            {"no-such-class", Weight::hard}});
  const auto weight = [&](BounceClass c) {
    return judged(failure(c), {}, Correlation::message, table).weight;
  };
  CHECK(weight(host_unknown) == Weight::hard);
  CHECK(weight(user_unknown) == Weight::alarm);
  CHECK(weight(mailbox_full) == Weight::none);
  CHECK(weight(spam) == Weight::alarm);
}

TEST_CASE("the reported recipient that speaks for ours") {
  BounceReport report;
  report.kind = BounceKind::bounce;
  const auto add = [&](std::string address, BounceKind kind) {
    report.recipients.push_back({.address = std::move(address),
                                 .kind = kind,
                                 .permanent = {},
                                 .status = {},
                                 .diagnostic = {},
                                 .remote_host = {}});
  };
  const auto speaks = [&] {
    const auto* one = reported(report, "alice@example.org", "example.org");
    return one == nullptr ? "nobody" : one->address;
  };
  CHECK(speaks() == "nobody");
  add("bob@elsewhere.example", BounceKind::success);
  CHECK(speaks() == "bob@elsewhere.example");
  add("carol@elsewhere.example", BounceKind::bounce);
  CHECK(speaks() == "carol@elsewhere.example");
  add("team@EXAMPLE.org", BounceKind::bounce);
  CHECK(speaks() == "team@EXAMPLE.org");
  add("Alice@Example.ORG", BounceKind::delay);
  CHECK(speaks() == "Alice@Example.ORG");
}

TEST_CASE("what the message is told of a failure and of a delay") {
  BounceEvent event = failure(mailbox_full);
  event.permanent = std::nullopt;
  const Verdict bounced = verdict_of(event, "5.2.2", std::string(400, 'x'), k_now);
  CHECK(bounced.kind == VerdictKind::undeliverable);
  CHECK(bounced.verdict_class == "mailbox-full");
  CHECK(bounced.permanent);
  CHECK(bounced.status == "5.2.2");
  CHECK(bounced.detail.size() == 300);
  CHECK(bounced.source == VerdictSource::dsn);
  CHECK(bounced.at == k_now);
  event.bounce_class = spam;
  CHECK(verdict_of(event, "", "", k_now).kind == VerdictKind::refused);
  event.kind = BounceKind::delay;
  CHECK(verdict_of(event, "", "", k_now).kind == VerdictKind::delayed);
  CHECK_FALSE(verdict_of(event, "", "", k_now).permanent);
}

TEST_CASE("each suppression in a row is longer, up to thirty days") {
  CHECK(suppressed_for(1) == 1h);
  CHECK(suppressed_for(2) == 24h);
  CHECK(suppressed_for(3) == 7 * 24h);
  CHECK(suppressed_for(4) == 30 * 24h);
  CHECK(suppressed_for(40) == 30 * 24h);
}

}  // namespace
}  // namespace mailotp::core
