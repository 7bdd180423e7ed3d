#include "mail/channel/mailbox_codec.h"

#include <string>
#include <string_view>
#include <variant>

#include <catch2/catch.hpp>
#include <rapidcheck.h>

#include "mail/channel/cbor.h"
#include "tests/channel/mailbox_samples.h"
#include "tests/channel/samples.h"

using namespace mailotp;

namespace {

std::string body(std::string_view frame) {
  return std::string(frame.substr(channel::k_length_bytes));
}

std::string frame_of(const core::MailboxOrder& order) {
  auto frame = channel::encode_mailbox_order(order);
  REQUIRE(frame);
  return std::string(frame->reveal());
}

template <class T>
T decoded_order(const core::MailboxOrder& order) {
  auto decoded = channel::decode_mailbox_order(body(frame_of(order)));
  REQUIRE(decoded);
  REQUIRE(std::holds_alternative<T>(*decoded));
  return std::get<T>(std::move(*decoded));
}

template <class T>
T decoded_event(const core::MailboxEvent& event) {
  auto decoded = channel::decode_mailbox_event(body(channel::encode_mailbox_event(event)));
  REQUIRE(decoded);
  REQUIRE(std::holds_alternative<T>(*decoded));
  return std::get<T>(std::move(*decoded));
}

bool order_means_itself(const std::string& frame) {
  auto order = channel::decode_mailbox_order(body(frame));
  return !order || frame_of(*order) == frame;
}

bool event_means_itself(const std::string& frame) {
  auto event = channel::decode_mailbox_event(body(frame));
  return !event || channel::encode_mailbox_event(*event) == frame;
}

// A frame's body, written by hand.
template <class Write>
std::string written(Write write) {
  std::string out;
  channel::CborWriter cbor(out);
  write(cbor);
  return out;
}

std::string numbers(std::initializer_list<std::uint64_t> values) {
  return written([&](channel::CborWriter& cbor) {
    cbor.array(values.size());
    for (const std::uint64_t value : values)
      cbor.number(value);
  });
}

constexpr std::uint64_t k_decided = 18;
constexpr std::uint64_t k_opened = 49;
constexpr std::uint64_t k_next = 50;

}  // namespace

TEST_CASE("the mailbox agent's hello arrives with every field") {
  const auto hello = decoded_order<core::MailboxHello>(samples::mailbox_hello());
  CHECK(hello.limits == samples::mailbox_hello().limits);
  CHECK(hello.limits.refused_pause == core::Millis{10'000'000});
  const core::MailboxSettings sent = samples::mailbox_settings();
  const core::MailboxSettings& got = hello.mailbox;
  CHECK(got.host == sent.host);
  CHECK(got.port == sent.port);
  CHECK(got.tls == sent.tls);
  CHECK(got.server_name == sent.server_name);
  CHECK(got.ca_file == sent.ca_file);
  CHECK(got.auth == sent.auth);
  CHECK(got.username == sent.username);
  CHECK(got.password.reveal() == sent.password.reveal());
  CHECK(got.mailbox == sent.mailbox);
  CHECK(got.processed == sent.processed);
  CHECK(got.unrecognised == sent.unrecognised);
  CHECK(got.bounce_local == sent.bounce_local);
  CHECK(got.bounce_domain == sent.bounce_domain);
  CHECK(got.keep == sent.keep);
}

TEST_CASE("the other mailbox orders arrive with every field") {
  core::MailboxResume sent{9, 5000, {}, {7, 8}};
  sent.moves = {{3, core::MailFate::processed}, {4, core::MailFate::unrecognised}};
  const auto resume = decoded_order<core::MailboxResume>(sent);
  CHECK((resume.uidvalidity == 9 && resume.after_uid == 5000));
  REQUIRE(resume.moves.size() == 2);
  CHECK((resume.moves[0].uid == 3 && resume.moves[0].fate == core::MailFate::processed));
  CHECK((resume.moves[1].uid == 4 && resume.moves[1].fate == core::MailFate::unrecognised));
  CHECK(resume.poison == std::vector<std::uint32_t>{7, 8});
  const auto decided =
      decoded_order<core::MailDecided>(core::MailDecided{{1, 2}, core::MailFate::unrecognised});
  CHECK((decided.mail == core::MailUid{1, 2} && decided.fate == core::MailFate::unrecognised));
  const auto password =
      decoded_order<core::SetMailboxPassword>(core::SetMailboxPassword{core::Secret("p\n")});
  CHECK(password.password.reveal() == "p\n");
  CHECK(decoded_order<core::Drain>(core::Drain{core::Millis{1234}}).grace == core::Millis{1234});
}

TEST_CASE("mailbox events arrive with every field") {
  const auto fact = decoded_event<core::MailboxFact>(
      core::MailboxFact{false, "tls", "expired", core::RelayTrouble::certificate});
  CHECK((!fact.up && fact.step == "tls" && fact.reason == "expired"));
  CHECK(fact.trouble == core::RelayTrouble::certificate);
  CHECK(decoded_event<core::MailboxFact>(core::MailboxFact{true, "", "", {}}).up);
  const auto opened = decoded_event<core::MailboxOpened>(core::MailboxOpened{1, 2, 3});
  CHECK((opened.uidvalidity == 1 && opened.uidnext == 2 && opened.exists == 3));
  CHECK(decoded_event<core::MailNext>(core::MailNext{{4, 5}}).mail == core::MailUid{4, 5});
  const auto moved = decoded_event<core::MailMoved>(core::MailMoved{9, {3, 2, 1}});
  CHECK((moved.uidvalidity == 9 && moved.uids == std::vector<std::uint32_t>{3, 2, 1}));
  CHECK(decoded_event<core::AgentReady>(core::AgentReady{"1.2.3", 77, {}}).pid == 77);
  CHECK(decoded_event<core::AgentLog>(core::AgentLog{"event=x"}).line == "event=x");

  for (const core::MailRead& sent : {samples::mail_read(), samples::full_mail_read()}) {
    const auto read = decoded_event<core::MailRead>(sent);
    CHECK(read.mail == sent.mail);
    CHECK(read.size == sent.size);
    CHECK(read.hash == sent.hash);
    CHECK(read.addressed == sent.addressed);
    CHECK(read.tags == sent.tags);
    CHECK(read.report == sent.report);
  }
}

TEST_CASE("a mailbox frame that is cut, or goes on, is refused") {
  const auto check_all = [](const std::string& frame, auto decode) {
    const std::string whole = body(frame);
    CHECK(decode(whole));
    for (std::size_t size = 0; size < whole.size(); ++size)
      if (decode(whole.substr(0, size))) FAIL("accepted " << size << " of " << whole.size() << " bytes");
    CHECK_FALSE(decode(whole + std::string(1, '\0')));
    CHECK_FALSE(decode(whole + whole));
  };
  for (const core::MailboxOrder& order : samples::mailbox_orders())
    check_all(frame_of(order),
              [](std::string_view b) { return channel::decode_mailbox_order(b).has_value(); });
  for (const core::MailboxEvent& event : samples::mailbox_events())
    check_all(channel::encode_mailbox_event(event),
              [](std::string_view b) { return channel::decode_mailbox_event(b).has_value(); });
}

TEST_CASE("a frame of one agent is none of the other, but for drain, ready and log") {
  for (const core::MailboxOrder& order : samples::mailbox_orders()) {
    CHECK_FALSE(channel::decode_mailbox_event(body(frame_of(order))));
    CHECK(channel::decode_order(body(frame_of(order))).has_value() ==
          std::holds_alternative<core::Drain>(order));
  }
  for (const core::MailboxEvent& event : samples::mailbox_events()) {
    const std::string frame = body(channel::encode_mailbox_event(event));
    CHECK_FALSE(channel::decode_mailbox_order(frame));
    const bool shared =
        std::holds_alternative<core::AgentReady>(event) || std::holds_alternative<core::AgentLog>(event);
    CHECK(channel::decode_fact(frame).has_value() == shared);
  }
  for (const core::Fact& fact : samples::facts()) {
    const bool shared =
        std::holds_alternative<core::AgentReady>(fact) || std::holds_alternative<core::AgentLog>(fact);
    CHECK(channel::decode_mailbox_event(body(channel::encode(fact))).has_value() == shared);
  }
}

TEST_CASE("any byte of a mailbox frame may change: an error, or a value that encodes to those bytes") {
  for (const core::MailboxOrder& order : samples::mailbox_orders()) {
    std::string frame = frame_of(order);
    for (std::size_t at = channel::k_length_bytes; at < frame.size(); ++at) {
      for (const char flip : {'\x01', '\x20', '\x80', '\xff'}) {
        frame[at] = static_cast<char>(frame[at] ^ flip);
        if (!order_means_itself(frame)) FAIL("byte " << at << " of an order");
        frame[at] = static_cast<char>(frame[at] ^ flip);
      }
    }
  }
  for (const core::MailboxEvent& event : samples::mailbox_events()) {
    std::string frame = channel::encode_mailbox_event(event);
    for (std::size_t at = channel::k_length_bytes; at < std::min<std::size_t>(frame.size(), 1200); ++at) {
      for (int flip = 1; flip < 256; ++flip) {
        frame[at] = static_cast<char>(frame[at] ^ flip);
        if (!event_means_itself(frame)) FAIL("byte " << at << " of an event");
        frame[at] = static_cast<char>(frame[at] ^ flip);
      }
    }
  }
}

TEST_CASE("random bytes are no mailbox frame, or mean themselves") {
  CHECK(rc::check("decoding is total", [](const std::string& bytes) {
    if (auto event = channel::decode_mailbox_event(bytes))
      RC_ASSERT(body(channel::encode_mailbox_event(*event)) == bytes);
    if (auto order = channel::decode_mailbox_order(bytes))
      RC_ASSERT(body(channel::encode_mailbox_order(*order)->reveal()) == bytes);
  }));
  for (const auto* frame : {"\x81\x9f", "\x9f"})
    CHECK_FALSE(channel::decode_mailbox_event(frame));
  CHECK_FALSE(channel::decode_mailbox_event(std::string(channel::k_max_fact, '\x81')));
  CHECK_FALSE(channel::decode_mailbox_order(std::string(channel::k_max_frame, '\x81')));
}

TEST_CASE("values out of range are no mailbox frame") {
  CHECK(channel::decode_mailbox_event(numbers({k_next, 1, 1})));
  CHECK_FALSE(channel::decode_mailbox_event(numbers({k_next, 0, 1})));
  CHECK_FALSE(channel::decode_mailbox_event(numbers({k_next, 1, 0})));
  CHECK_FALSE(channel::decode_mailbox_event(numbers({k_next, 1, 1ULL << 32})));
  CHECK(channel::decode_mailbox_event(numbers({k_opened, 1, 0, 0})));
  CHECK_FALSE(channel::decode_mailbox_event(numbers({k_opened, 0, 1, 1})));
  CHECK(channel::decode_mailbox_order(numbers({k_decided, 1, 1, 2})));
  CHECK_FALSE(channel::decode_mailbox_order(numbers({k_decided, 1, 1, 3})));
  CHECK_FALSE(channel::decode_mailbox_order(numbers({k_decided, 1, 1, 256})));
  for (const std::size_t count : {core::k_mails_a_fact, core::k_mails_a_fact + 1}) {
    const std::string moved = written([count](channel::CborWriter& cbor) {
      cbor.array(3);
      cbor.number(52);
      cbor.number(1);
      cbor.array(count);
      for (std::size_t i = 0; i < count; ++i)
        cbor.number(1);
    });
    CHECK(channel::decode_mailbox_event(moved).has_value() == (count == core::k_mails_a_fact));
  }
}

TEST_CASE("a report beyond its bounds is cut to them by its writer") {
  core::MailRead read = samples::full_mail_read();
  read.report.recipients.resize(100, samples::bounced_recipient());
  read.report.recipients[0].address = std::string(5000, 'a');
  read.report.recipients[0].diagnostic = "a\r\n" + std::string(5000, '\x01');
  read.report.recipients[0].remote_host = std::string(5000, '\xff');
  read.report.recipients[0].status = "5.x.1";
  read.report.recipients[1].status = "5.123.123.123.123";
  read.report.rule = std::string(1000, 'r');
  read.tags = {std::string(201, 't'), "nul\n", "kept"};
  read.report.envids.assign(1000, "e");
  const auto got = decoded_event<core::MailRead>(read);
  REQUIRE(got.report.recipients.size() == core::k_bounced_recipients);
  CHECK(got.report.recipients[0].address == std::string(320, 'a'));
  CHECK(got.report.recipients[0].diagnostic.starts_with("a\\x0d\\x0a\\x01"));
  CHECK(got.report.recipients[0].diagnostic.size() <= core::k_bounce_diagnostic);
  CHECK(got.report.recipients[0].status.empty());
  CHECK(got.report.recipients[1].status.empty());
  CHECK(got.report.rule == std::string(core::k_bounce_rule, 'r'));
  CHECK(got.tags == std::vector<std::string>{"kept"});
  CHECK(got.report.envids.size() == core::k_returned_tokens);
}

TEST_CASE("an order about too many mails, or too large, is refused by its writer") {
  core::MailboxResume resume{1, 1, {}, samples::uids(core::k_mails_a_fact + 1)};
  CHECK_FALSE(channel::encode_mailbox_order(resume));
  resume.poison.clear();
  resume.moves.resize(core::k_mails_a_fact + 1, {1, core::MailFate::processed});
  CHECK_FALSE(channel::encode_mailbox_order(resume));
  const auto frame = channel::encode_mailbox_order(
      core::SetMailboxPassword{core::Secret(std::string(channel::k_max_frame, 'x'))});
  REQUIRE_FALSE(frame);
  CHECK(frame.error().code == core::Errc::invalid);
}

TEST_CASE("a mailbox hello of another protocol is refused") {
  std::string hello = body(frame_of(core::MailboxHello{}));
  REQUIRE(hello[2] == static_cast<char>(channel::k_protocol));  // after the array and the tag
  hello[2] = static_cast<char>(channel::k_protocol + 1);
  CHECK_FALSE(channel::decode_mailbox_order(hello));
}
