#include "daemon/http/target.h"

#include <string>

#include <catch2/catch.hpp>

namespace mailotp::daemon {
namespace {

TEST_CASE("targets that are refused") {
  for (const std::string bad :
       {"",     "*",     "a",       "http://a/", "//a#", "/%",      "/%4",        "/%4g",          "/%g4",
        "/%00", "/%0a",  "/%7f",    "/\xc3\xa4", "/%ff", "/%c0%af", "/%ed%a0%80", "/%f4%90%80%80", "/%e2%82",
        "/%80", "/?%zz", "/?a=%01", "/?%0d=1"}) {
    INFO(bad);
    const auto target = parse_target(bad);
    REQUIRE_FALSE(target.has_value());
    CHECK(target.error().code == core::Errc::malformed);
  }
}

TEST_CASE("targets are decoded") {
  const auto plain = parse_target("/v1");
  REQUIRE(plain.has_value());
  CHECK(plain->path == "/v1");
  CHECK(plain->query.empty());

  const auto full = parse_target("/a%2Fb%c3%a4%F0%9F%98%80/?x=1=2&y&=z&%26=%3d&t=a+b?");
  REQUIRE(full.has_value());
  CHECK(full->path == "/a/b\xc3\xa4\xf0\x9f\x98\x80/");
  CHECK(full->segments == std::vector<std::string>{"a/b\xc3\xa4\xf0\x9f\x98\x80", ""});
  CHECK(full->raw_query == "x=1=2&y&=z&%26=%3d&t=a+b?");
  const std::vector<std::pair<std::string, std::string>> query{
      {"x", "1=2"}, {"y", ""}, {"", "z"}, {"&", "="}, {"t", "a+b?"}};
  CHECK(full->query == query);
}

}  // namespace
}  // namespace mailotp::daemon
