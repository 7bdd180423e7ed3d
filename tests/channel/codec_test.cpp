#include "mail/channel/codec.h"

#include <string>
#include <string_view>
#include <variant>

#include <catch2/catch.hpp>
#include <rapidcheck.h>

#include "mail/channel/cbor.h"
#include "tests/channel/samples.h"

using namespace mailotp;

namespace {

std::string body(std::string_view frame) {
  return std::string(frame.substr(channel::k_length_bytes));
}

std::string frame_of(const core::Order& order) {
  auto frame = channel::encode(order);
  REQUIRE(frame);
  return std::string(frame->reveal());
}

// The same bytes come out of what the bytes meant.
bool decodes_to_itself(const std::string& frame, bool order) {
  if (order) {
    auto decoded = channel::decode_order(body(frame));
    return decoded && frame_of(*decoded) == frame;
  }
  auto decoded = channel::decode_fact(body(frame));
  return decoded && channel::encode(*decoded) == frame;
}

template <class T>
T decoded_order(const core::Order& order) {
  auto decoded = channel::decode_order(body(frame_of(order)));
  REQUIRE(decoded);
  REQUIRE(std::holds_alternative<T>(*decoded));
  return std::get<T>(std::move(*decoded));
}

template <class T>
T decoded_fact(const core::Fact& fact) {
  auto decoded = channel::decode_fact(body(channel::encode(fact)));
  REQUIRE(decoded);
  REQUIRE(std::holds_alternative<T>(*decoded));
  return std::get<T>(std::move(*decoded));
}

// A fact's body, written by hand.
template <class Write>
std::string written(Write write) {
  std::string out;
  channel::CborWriter cbor(out);
  write(cbor);
  return out;
}

std::string log_of(std::string_view line) {
  return written([line](channel::CborWriter& cbor) {
    cbor.array(2);
    cbor.number(39);
    cbor.text(line);
  });
}

std::string relayed_with(std::uint64_t code, std::string_view status) {
  return written([&](channel::CborWriter& cbor) {
    cbor.array(4);
    cbor.number(33);
    cbor.bytes(std::string(16, 'i'));
    cbor.number(1);
    cbor.array(3);
    cbor.number(code);
    cbor.text(status);
    cbor.text("ok");
  });
}

}  // namespace

TEST_CASE("a hello arrives with every field") {
  const auto hello = decoded_order<core::Hello>(samples::hello());
  CHECK(hello.hostname == "mail.example.org");
  CHECK(hello.dsn_notify == std::vector<std::string>{"failure", "delay"});
  CHECK(hello.limits == samples::hello().limits);
  CHECK(hello.limits.write == core::Millis{9'000'000});
  CHECK(hello.limits.session_messages == 17);
  REQUIRE(hello.relays.size() == 2);
  const core::RelaySettings& one = hello.relays[0];
  const core::RelaySettings sent = samples::relay("one");
  CHECK(one.name == sent.name);
  CHECK(one.kind == sent.kind);
  CHECK(one.directory == sent.directory);
  CHECK(one.host == sent.host);
  CHECK(one.port == sent.port);
  CHECK(one.tls == sent.tls);
  CHECK(one.server_name == sent.server_name);
  CHECK(one.ca_file == sent.ca_file);
  CHECK(one.auth == sent.auth);
  CHECK(one.username == sent.username);
  CHECK(one.password.reveal() == sent.password.reveal());
  CHECK(one.max_connections == sent.max_connections);
  CHECK(hello.relays[1].kind == core::RelayKind::capture);
  CHECK(hello.relays[1].directory == "/srv/captured");
}

TEST_CASE("the other orders arrive with every field") {
  const core::Job sent = samples::job(samples::key(), std::string("a\0b\r\n\xff", 6));
  const auto job = decoded_order<core::Job>(samples::job(samples::key(), std::string("a\0b\r\n\xff", 6)));
  CHECK(job.key == sent.key);
  CHECK(job.relay == sent.relay);
  CHECK(job.return_path == sent.return_path);
  CHECK(job.recipient == sent.recipient);
  CHECK(job.envid == sent.envid);
  CHECK(job.time_left == sent.time_left);
  CHECK(job.content.reveal() == sent.content.reveal());
  CHECK(decoded_order<core::CancelJob>(core::CancelJob{samples::key(5, 6)}).key == samples::key(5, 6));
  const auto password = decoded_order<core::SetPassword>(core::SetPassword{"r", core::Secret("p\n")});
  CHECK(password.relay == "r");
  CHECK(password.password.reveal() == "p\n");
  const auto test = decoded_order<core::TestRelay>(core::TestRelay{0xfffffffe, "r"});
  CHECK(test.test == 0xfffffffe);
  CHECK(test.relay == "r");
  CHECK(decoded_order<core::Drain>(core::Drain{core::Millis{1234}}).grace == core::Millis{1234});
}

TEST_CASE("facts arrive with every field") {
  const core::Reply reply{451, "4.7.1", "greylisted"};
  CHECK(decoded_fact<core::JobDotNext>(core::JobDotNext{samples::key(8, 9)}).key == samples::key(8, 9));
  const auto relayed = decoded_fact<core::JobRelayed>(core::JobRelayed{samples::key(), reply});
  CHECK((relayed.key == samples::key() && relayed.reply == reply));
  const auto refused =
      decoded_fact<core::JobRefused>(core::JobRefused{samples::key(), core::Stage::dot, reply});
  CHECK((refused.key == samples::key() && refused.stage == core::Stage::dot && refused.reply == reply));
  const auto not_sent =
      decoded_fact<core::JobNotSent>(core::JobNotSent{samples::key(), core::Stage::auth, "refused", reply});
  CHECK((not_sent.stage == core::Stage::auth && not_sent.reason == "refused" && not_sent.reply == reply));
  CHECK_FALSE(decoded_fact<core::JobNotSent>(core::JobNotSent{samples::key(), {}, "", {}}).reply);
  CHECK(decoded_fact<core::JobUncertain>(core::JobUncertain{samples::key(), "why"}).reason == "why");
  const auto relay = decoded_fact<core::RelayFact>(
      core::RelayFact{"r", core::RelayCondition::up, core::Stage::ehlo, "seen", 12});
  CHECK((relay.relay == "r" && relay.condition == core::RelayCondition::up));
  CHECK((relay.stage == core::Stage::ehlo && relay.reason == "seen" && relay.connections == 12));
  const auto ready =
      decoded_fact<core::AgentReady>(core::AgentReady{"1.2.3", 77, core::Confinement::no_landlock});
  CHECK((ready.version == "1.2.3" && ready.pid == 77));
  CHECK(ready.confinement == core::Confinement::no_landlock);
  CHECK(decoded_fact<core::AgentLog>(core::AgentLog{"event=x"}).line == "event=x");
  const auto step = decoded_fact<core::TestStep>(core::TestStep{3, core::Stage::tls, true, "TLSv1.3"});
  CHECK((step.test == 3 && step.stage == core::Stage::tls && step.ok && step.saw == "TLSv1.3"));
  const auto done = decoded_fact<core::TestDone>(core::TestDone{4, true});
  CHECK((done.test == 4 && done.ok));
}

TEST_CASE("a frame that is cut, or goes on, is refused") {
  const auto check_all = [](const std::string& frame, auto decode) {
    const std::string whole = body(frame);
    CHECK(decode(whole));
    const std::size_t step = whole.size() > 1000 ? 997 : 1;
    for (std::size_t size = 0; size < whole.size(); size += step)
      if (decode(whole.substr(0, size))) FAIL("accepted " << size << " of " << whole.size() << " bytes");
    CHECK_FALSE(decode(whole + std::string(1, '\0')));
    CHECK_FALSE(decode(whole + whole));
  };
  for (const core::Order& order : samples::orders())
    check_all(frame_of(order), [](std::string_view b) { return channel::decode_order(b).has_value(); });
  for (const core::Fact& fact : samples::facts())
    check_all(channel::encode(fact), [](std::string_view b) { return channel::decode_fact(b).has_value(); });
}

TEST_CASE("an order is no fact and a fact is no order") {
  for (const core::Order& order : samples::orders())
    CHECK_FALSE(channel::decode_fact(body(frame_of(order))));
  for (const core::Fact& fact : samples::facts())
    CHECK_FALSE(channel::decode_order(body(channel::encode(fact))));
}

TEST_CASE("any byte of a frame may change: the answer is an error, or a value that encodes to those bytes") {
  for (const core::Order& order : samples::orders()) {
    std::string frame = frame_of(order);
    for (std::size_t at = channel::k_length_bytes; at < std::min<std::size_t>(frame.size(), 400); ++at) {
      for (const char flip : {'\x01', '\x20', '\x80', '\xff'}) {
        frame[at] = static_cast<char>(frame[at] ^ flip);
        if (channel::decode_order(body(frame))) REQUIRE(decodes_to_itself(frame, true));
        frame[at] = static_cast<char>(frame[at] ^ flip);
      }
    }
  }
  for (const core::Fact& fact : samples::facts()) {
    std::string frame = channel::encode(fact);
    for (std::size_t at = channel::k_length_bytes; at < frame.size(); ++at) {
      for (int flip = 1; flip < 256; ++flip) {
        frame[at] = static_cast<char>(frame[at] ^ flip);
        if (channel::decode_fact(body(frame))) REQUIRE(decodes_to_itself(frame, false));
        frame[at] = static_cast<char>(frame[at] ^ flip);
      }
    }
  }
}

TEST_CASE("random bytes are refused or mean themselves") {
  CHECK(rc::check("decoding is total", [](const std::string& bytes) {
    if (auto fact = channel::decode_fact(bytes)) RC_ASSERT(body(channel::encode(*fact)) == bytes);
    if (auto order = channel::decode_order(bytes))
      RC_ASSERT(body(channel::encode(*order)->reveal()) == bytes);
  }));
}

TEST_CASE("random orders and facts come back") {
  CHECK(rc::check("a job", [] {
    core::Job job;
    for (std::uint8_t& byte : job.key.message.bytes)
      byte = *rc::gen::arbitrary<std::uint8_t>();
    job.key.attempt = *rc::gen::arbitrary<std::uint32_t>();
    job.relay = *rc::gen::container<std::string>(rc::gen::inRange(' ', '\x7f'));
    job.time_left = core::Millis{*rc::gen::inRange<std::int64_t>(0, 1'000'000'000)};
    const std::string content = *rc::gen::arbitrary<std::string>();
    job.content = core::Secret(content);
    const core::AttemptKey key = job.key;
    const std::string relay = job.relay;
    auto back = channel::decode_order(body(channel::encode(core::Order(std::move(job)))->reveal()));
    RC_ASSERT(back.has_value());
    const auto& got = std::get<core::Job>(*back);
    RC_ASSERT((got.key == key && got.relay == relay && got.content.reveal() == content));
  }));
  CHECK(rc::check("words for people are always printable and bounded", [](const std::string& words) {
    const auto frame = channel::encode(core::JobUncertain{samples::key(), words});
    const auto back = channel::decode_fact(body(frame));
    RC_ASSERT(back.has_value());
    RC_ASSERT(std::get<core::JobUncertain>(*back).reason == channel::printable(words));
  }));
}

TEST_CASE("words for people") {
  CHECK(channel::printable("plain \\ text") == "plain \\ text");
  CHECK(channel::printable("a\r\n\x1b[31m\xff") == "a\\x0d\\x0a\\x1b[31m\\xff");
  CHECK(channel::printable(std::string(1000, 'a')).size() == channel::k_max_text);
  CHECK(channel::printable("abc\n", 6) == "abc");
  CHECK(channel::decode_fact(log_of(std::string(500, 'a'))));
  CHECK_FALSE(channel::decode_fact(log_of(std::string(501, 'a'))));
  CHECK_FALSE(channel::decode_fact(log_of("two\nlines")));
  CHECK_FALSE(channel::decode_fact(log_of("\x1b[31m")));
  CHECK_FALSE(channel::decode_fact(log_of("\xc3\xa4")));
}

TEST_CASE("numbers out of range are refused") {
  CHECK(channel::decode_fact(relayed_with(200, "2.0.0")));
  CHECK(channel::decode_fact(relayed_with(599, "")));
  for (const std::uint64_t code : {0ULL, 199ULL, 600ULL, 1ULL << 40})
    CHECK_FALSE(channel::decode_fact(relayed_with(code, "2.0.0")));
  CHECK_FALSE(channel::decode_fact(relayed_with(250, "2.0.0x")));
  CHECK_FALSE(channel::decode_fact(relayed_with(250, "1.2.3.4.5.6.7.8.9")));
  // refused, with a stage that there is not
  const auto refused = [](std::uint64_t stage) {
    return written([stage](channel::CborWriter& cbor) {
      cbor.array(5);
      cbor.number(34);
      cbor.bytes(std::string(16, 'i'));
      cbor.number(1);
      cbor.number(stage);
      cbor.array(3);
      cbor.number(550);
      cbor.text("");
      cbor.text("");
    });
  };
  CHECK(channel::decode_fact(refused(core::k_stages - 1)));
  CHECK_FALSE(channel::decode_fact(refused(core::k_stages)));
  CHECK_FALSE(channel::decode_fact(refused(256 + 1)));
}

TEST_CASE("items of another type or form are refused") {
  const auto done = [](std::string_view number) {  // a TestDone with `number` in place of its number
    return written([](channel::CborWriter& cbor) {
             cbor.array(4);
             cbor.number(41);
           }) +
           std::string(number) + std::string("\xf5\x00", 2);
  };
  CHECK(channel::decode_fact(done("\x05")));
  CHECK(channel::decode_fact(done("\x18\x18")));
  CHECK_FALSE(channel::decode_fact(done("\x18\x05")));                              // not the shortest form
  CHECK_FALSE(channel::decode_fact(done(std::string_view("\x19\x00\x18", 3))));     // …
  CHECK_FALSE(channel::decode_fact(done("\x1b\x00\x00\x00\x01\x00\x00\x00\x00")));  // cut by the test's \0
  CHECK_FALSE(channel::decode_fact(done(std::string_view("\x1b\0\0\0\1\0\0\0\0", 9))));  // beyond 32 bits
  CHECK_FALSE(channel::decode_fact(done("\x20")));                                       // -1
  CHECK_FALSE(channel::decode_fact(done("\x41\x05")));                                   // a string
  CHECK_FALSE(channel::decode_fact(done("\xc1\x05")));                                   // a tagged number
  CHECK_FALSE(channel::decode_fact(done("\xf5")));                                       // true
  CHECK_FALSE(channel::decode_fact(done("\xf9\x3c\x01")));                               // a float
  CHECK_FALSE(channel::decode_fact(done("\x1c")));                                       // a reserved length
  CHECK_FALSE(channel::decode_fact(std::string("\x9f\x18\x29\x05\xf5\xff", 6)));         // an endless array
  CHECK_FALSE(channel::decode_fact(""));
  // An array or a string that promises more than there is costs nothing.
  CHECK_FALSE(channel::decode_fact(std::string("\x9b\xff\xff\xff\xff\xff\xff\xff\xff", 9)));
  CHECK_FALSE(channel::decode_fact(std::string("\x82\x18\x27\x7b\xff\xff\xff\xff\xff\xff\xff\xff", 12)));
  // Deep nesting, which a recursive decoder would not survive.
  CHECK_FALSE(channel::decode_fact(std::string(channel::k_max_fact, '\x81')));
  CHECK_FALSE(channel::decode_order(std::string(channel::k_max_frame, '\x81')));
}

TEST_CASE("an order that does not fit into a frame is refused by its writer") {
  CHECK(channel::encode(samples::job(samples::key(), std::string(channel::k_max_frame - 1000, 'x'))));
  const auto frame = channel::encode(samples::job(samples::key(), std::string(channel::k_max_frame, 'x')));
  REQUIRE_FALSE(frame);
  CHECK(frame.error().code == core::Errc::invalid);
}

TEST_CASE("a hello of another protocol is refused") {
  std::string hello = body(frame_of(core::Hello{}));
  REQUIRE(hello[2] == static_cast<char>(channel::k_protocol));  // after the array and the tag
  hello[2] = static_cast<char>(channel::k_protocol + 1);
  CHECK_FALSE(channel::decode_order(hello));
}
