#include "daemon/api/strict_json.h"

#include <string>

#include <catch2/catch.hpp>

using mailotp::daemon::parse_strict;

namespace {

std::string nested(int levels, char open, char close) {
  std::string text;
  for (int i = 0; i < levels; ++i)
    text += open == '{' && i > 0 ? std::string("\"a\":{") : std::string(1, open);
  if (open == '{') text += "\"a\":1";
  text += std::string(static_cast<std::size_t>(levels), close);
  return text;
}

}  // namespace

TEST_CASE("sixteen levels are taken, the seventeenth is refused") {
  CHECK(parse_strict(nested(16, '[', ']')));
  CHECK_FALSE(parse_strict(nested(17, '[', ']')));
  CHECK(parse_strict(nested(16, '{', '}')));
  CHECK_FALSE(parse_strict(nested(17, '{', '}')));
}

TEST_CASE("a nesting bomb of the largest body is refused without harm") {
  CHECK_FALSE(parse_strict(std::string(65536, '[')));
  CHECK_FALSE(parse_strict(nested(10000, '{', '}')));
}

TEST_CASE("duplicate keys are refused at every level, equal keys of different objects are not") {
  CHECK_FALSE(parse_strict(R"({"a":1,"a":1})"));
  CHECK_FALSE(parse_strict(R"({"x":{"a":1,"b":2,"a":3}})"));
  CHECK_FALSE(parse_strict(R"([{"a":1,"\u0061":2}])"));
  CHECK(parse_strict(R"({"a":{"a":1},"b":{"a":1}})"));
  CHECK(parse_strict(R"([{"a":1},{"a":1}])"));
}

TEST_CASE("what is not JSON is refused, and the error repeats nothing of it") {
  for (const char* text :
       {"", " ", "{", "{\"code\":\"12345678", "{'a':1}", "{\"a\":1,}", "[1 2]", "nul", "{\"a\":01}",
        "{\"a\":1} x", "\xff", "{\"a\":\"\xc3\x28\"}", "{\"a\":\"\x01\"}", "// c\n{}", "NaN", "1e999"}) {
    const auto parsed = parse_strict(text);
    INFO(text);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().what.find("12345678") == std::string::npos);
  }
}

TEST_CASE("a NUL inside a text is a character like others") {
  const auto parsed = parse_strict(R"({"a":"x\u0000y"})");
  REQUIRE(parsed);
  CHECK(parsed->at("a").get<std::string>().size() == 3);
}
