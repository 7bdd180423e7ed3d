#include "core/id.h"

#include <algorithm>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include <catch2/catch.hpp>
#include <rapidcheck.h>

#include "tests/core/random_sources.h"

namespace mailotp::core {
namespace {

using test::ScriptedRandom;
using test::SeededRandom;

constexpr WallTime k_now = from_unix_ms(1'795'176'000'123);

bool is_uuid_v7(const Id& id) {
  return (id.bytes[6] >> 4) == 7 && (id.bytes[8] >> 6) == 2;
}

TEST_CASE("an id is a UUIDv7: 36 lower-case characters, version, variant and millisecond") {
  SeededRandom random(1);
  IdSource ids(random);
  const Id id = ids.next(k_now);
  const std::string text = to_string(id);
  REQUIRE(text.size() == 36);
  for (std::size_t i = 0; i < text.size(); ++i) {
    CAPTURE(i);
    if (i == 8 || i == 13 || i == 18 || i == 23)
      CHECK(text[i] == '-');
    else
      CHECK(std::string("0123456789abcdef").find(text[i]) != std::string::npos);
  }
  CHECK(text[14] == '7');
  CHECK(std::string("89ab").find(text[19]) != std::string::npos);
  CHECK(text.substr(0, 13) == "01a1f8d3-ea7b");
  CHECK(time_of(id) == k_now);
  CHECK_FALSE(id.is_nil());
  CHECK(Id{}.is_nil());
}

TEST_CASE("the bytes of the source fill all but time, version and variant") {
  ScriptedRandom ones({}, 0xff), zeros({}, 0x00);
  CHECK(to_string(IdSource(ones).next(from_unix_ms(0x0190b5a07c1e))) ==
        "0190b5a0-7c1e-7fff-bfff-ffffffffffff");
  CHECK(to_string(IdSource(zeros).next(from_unix_ms(0x0190b5a07c1e))) ==
        "0190b5a0-7c1e-7000-8000-000000000000");
}

TEST_CASE("ids strictly increase within a millisecond, and are UUIDv7 all the same") {
  SeededRandom random(2);
  IdSource ids(random);
  Id last = ids.next(k_now);
  for (int i = 0; i < 20000; ++i) {
    const Id id = ids.next(k_now);
    if (!(last < id) || !is_uuid_v7(id) || time_of(id) != k_now) FAIL(to_string(last) << to_string(id));
    last = id;
  }
  CHECK(random.fills() == 1);
}

TEST_CASE("ids strictly increase when the clock steps back, and follow it again when it has caught up") {
  SeededRandom random(3);
  IdSource ids(random);
  const Id before = ids.next(k_now);
  const Id behind = ids.next(k_now - std::chrono::hours{1});
  CHECK(before < behind);
  CHECK(time_of(behind) == k_now);
  const Id later = ids.next(k_now + Millis{1});
  CHECK(behind < later);
  CHECK(time_of(later) == k_now + Millis{1});
}

TEST_CASE("a random part that overflows moves into the next millisecond") {
  ScriptedRandom random({}, 0xff);
  IdSource ids(random);
  const Id full = ids.next(k_now);
  const Id over = ids.next(k_now);
  CHECK(full < over);
  CHECK(is_uuid_v7(over));
  CHECK(time_of(over) == k_now + Millis{1});
  CHECK(over < ids.next(k_now));
  const Id caught_up = ids.next(k_now + Millis{1});
  CHECK(over < caught_up);
  CHECK(time_of(caught_up) == k_now + Millis{1});
}

// Each carry of the increment, over the variant and the version.
TEST_CASE("the increment carries over the fixed bits") {
  struct Row {
    std::vector<std::uint32_t> words;
    const char* second;
  };
  const std::vector<Row> rows{
      {{0, 0x00000000, 0x00000000, 0x000000ff}, "0190b5a0-7c1e-7000-8000-000000000100"},
      {{0, 0x00000000, 0x00ffffff, 0xffffffff}, "0190b5a0-7c1e-7000-8100-000000000000"},
      {{0, 0x00000000, 0x3fffffff, 0xffffffff}, "0190b5a0-7c1e-7001-8000-000000000000"},
      {{0, 0x000000ff, 0x3fffffff, 0xffffffff}, "0190b5a0-7c1e-7100-8000-000000000000"},
  };
  for (const Row& row : rows) {
    ScriptedRandom random(row.words);
    IdSource ids(random);
    const WallTime at = from_unix_ms(0x0190b5a07c1e);
    const Id first = ids.next(at), second = ids.next(at);
    CHECK(first < second);
    CHECK(to_string(second) == row.second);
  }
}

TEST_CASE("an id made at the epoch is a UUIDv7") {
  SeededRandom random(4);
  IdSource ids(random);
  const Id first = ids.next(from_unix_ms(0)), second = ids.next(from_unix_ms(0));
  CHECK(is_uuid_v7(first));
  CHECK(is_uuid_v7(second));
  CHECK(first < second);
  CHECK(random.fills() == 1);
}

TEST_CASE("what is no id is malformed") {
  const std::string good = "0190b5a0-7c1e-7e3a-9f00-0123456789ab";
  std::vector<std::string> bad{
      "",
      "0",
      good.substr(1),
      good + "0",
      " " + good.substr(1),
      "0190b5a07c1e7e3a9f000123456789ab",
      "0190b5a07c1e7e3a9f000123456789abcdef",
      "{190b5a0-7c1e-7e3a-9f00-0123456789a}",
      "0190b5a0-7c1e-7e3a-9f00-0123456789ag",
      "0190b5a0_7c1e_7e3a_9f00_0123456789ab",
      "0190b5a-07c1e-7e3a-9f00-0123456789ab",
      "0190b5a0-7c1e-7e3a-9f00+0123456789ab",
      "0190b5a0-7c1e-7e3a-9f00-01234567\xc3\xa9"
      "ab",
      std::string("0190b5a0-7c1e-7e3a-9f00-0123456789a\0", 36),
      "------------------------------------",
  };
  // Every position, with a character that fits nowhere.
  for (std::size_t i = 0; i < good.size(); ++i) {
    bad.push_back(good);
    bad.back()[i] = ':';
  }
  for (const std::string& text : bad) {
    CAPTURE(text);
    const auto id = parse_id(text);
    REQUIRE_FALSE(id);
    CHECK(id.error().code == Errc::malformed);
    CHECK_FALSE(id.error().what.empty());
  }
}

TEST_CASE("an id is read in both cases and written in lower case") {
  const auto id = parse_id("0190B5A0-7C1E-7E3A-9F00-0123456789Ab");
  REQUIRE(id);
  CHECK(to_string(*id) == "0190b5a0-7c1e-7e3a-9f00-0123456789ab");
}

TEST_CASE("every id survives text and back, and sorts as its text does") {
  CHECK(rc::check("ids", [] {
    const auto bytes = *rc::gen::container<std::array<std::uint8_t, 16>>(rc::gen::arbitrary<std::uint8_t>());
    const auto other = *rc::gen::container<std::array<std::uint8_t, 16>>(rc::gen::arbitrary<std::uint8_t>());
    const Id a{bytes}, b{other};
    const auto back = parse_id(to_string(a));
    RC_ASSERT(back.has_value());
    RC_ASSERT(*back == a);
    RC_ASSERT((a < b) == (to_string(a) < to_string(b)));
  }));
}

TEST_CASE("ids made in one millisecond do not collide in a hash") {
  SeededRandom random(5);
  IdSource ids(random);
  std::unordered_set<std::size_t> hashes;
  for (int i = 0; i < 1000; ++i)
    hashes.insert(std::hash<Id>{}(ids.next(k_now)));
  CHECK(hashes.size() == 1000);
}

}  // namespace
}  // namespace mailotp::core
