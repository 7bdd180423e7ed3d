#include "core/time.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <rapidcheck.h>

namespace mailotp::core {
namespace {

// 2026-11-20T12:00:00Z is day 20777 of the epoch.
constexpr std::int64_t k_noon = 20777LL * 86'400'000 + 12LL * 3'600'000;

TEST_CASE("times are written as RFC 3339, UTC, three decimals") {
  struct Row {
    std::int64_t ms;
    const char* text;
  };
  for (const Row& row : std::vector<Row>{
           {0, "1970-01-01T00:00:00.000Z"},
           {1, "1970-01-01T00:00:00.001Z"},
           {-1, "1969-12-31T23:59:59.999Z"},
           {k_noon, "2026-11-20T12:00:00.000Z"},
           {k_noon + 3'599'999, "2026-11-20T12:59:59.999Z"},
           {951'782'400'000, "2000-02-29T00:00:00.000Z"},
           {1'709'251'199'050, "2024-02-29T23:59:59.050Z"},
           {4'107'542'400'000, "2100-03-01T00:00:00.000Z"},  // 2100 is no leap year
           {253'402'300'799'999, "9999-12-31T23:59:59.999Z"},
       }) {
    CHECK(format_rfc3339(from_unix_ms(row.ms)) == row.text);
    const auto back = parse_rfc3339(row.text);
    REQUIRE(back);
    CHECK(to_unix_ms(*back) == row.ms);
  }
}

TEST_CASE("RFC 3339 times of others are read: offsets, fractions, lower case, leap seconds") {
  struct Row {
    const char* text;
    std::int64_t ms;
  };
  for (const Row& row : std::vector<Row>{
           {"2026-11-20T12:00:00Z", k_noon},
           {"2026-11-20t12:00:00z", k_noon},
           {"2026-11-20T12:00:00+00:00", k_noon},
           {"2026-11-20T12:00:00-00:00", k_noon},
           {"2026-11-20T13:00:00+01:00", k_noon},
           {"2026-11-20T17:30:00+05:30", k_noon},
           {"2026-11-21T11:59:00+23:59", k_noon},
           {"2026-11-20T04:00:00-08:00", k_noon},
           {"2026-11-19T12:01:00-23:59", k_noon},
           {"2026-11-20T12:00:00.1Z", k_noon + 100},
           {"2026-11-20T12:00:00.12Z", k_noon + 120},
           {"2026-11-20T12:00:00.123Z", k_noon + 123},
           {"2026-11-20T12:00:00.1239Z", k_noon + 123},
           {"2026-11-20T12:00:00.000999999999999999999999Z", k_noon},
           {"2026-11-20T13:00:00.5+01:00", k_noon + 500},
           {"2016-12-31T23:59:60Z", 1'483'228'800'000},
           {"2024-02-29T00:00:00Z", 1'709'164'800'000},
           {"2025-01-01T00:30:00+01:00", 1'735'687'800'000},  // the day before, the year before
       }) {
    CAPTURE(row.text);
    const auto time = parse_rfc3339(row.text);
    REQUIRE(time);
    CHECK(to_unix_ms(*time) == row.ms);
  }
}

TEST_CASE("what is no RFC 3339 time is malformed") {
  for (const std::string text : {
           "",
           "2026",
           "2026-11-20",
           "12:00:00Z",
           "2026-11-20T12:00:00",
           "2026-11-20T12:00Z",
           "2026-11-20 12:00:00Z",
           "2026-11-20T12:00:00 Z",
           " 2026-11-20T12:00:00Z",
           "2026-11-20T12:00:00Z ",
           "2026-11-20T12:00:00ZZ",
           "2026-11-20T12:00:00.Z",
           "2026-11-20T12:00:00.",
           "2026-11-20T12:00:00.5",
           "2026-11-20T12:00:00,5Z",
           "2026-11-20T12:00:00.-5Z",
           "2026-11-20T12:00:00+",
           "2026-11-20T12:00:00+0",
           "2026-11-20T12:00:00+01",
           "2026-11-20T12:00:00+01:",
           "2026-11-20T12:00:00+01:0",
           "2026-11-20T12:00:00+0100",
           "2026-11-20T12:00:00+01-00",
           "2026-11-20T12:00:00+01:000",
           "2026-11-20T12:00:00+24:00",
           "2026-11-20T12:00:00+01:60",
           "2026-00-20T12:00:00Z",
           "2026-13-20T12:00:00Z",
           "2026-11-00T12:00:00Z",
           "2026-11-31T12:00:00Z",
           "2026-02-29T12:00:00Z",
           "2025-02-29T12:00:00Z",
           "2100-02-29T12:00:00Z",
           "1900-02-29T12:00:00Z",
           "2026-11-20T24:00:00Z",
           "2026-11-20T12:60:00Z",
           "2026-11-20T12:00:61Z",
           "26-11-20T12:00:00Z  ",
           "2026/11/20T12:00:00Z",
           "2026-11-20T12.00.00Z",
           "+026-11-20T12:00:00Z",
           "-026-11-20T12:00:00Z",
           "2026-1 -20T12:00:00Z",
           "2026-11-20T12:00:0aZ",
           "Fri, 20 Nov 2026 12:00:00 +0000",
           "1795176000000",
           "9999-12-31T23:59:59-00:01",
           "9999-12-31T23:59:60Z",
           "0000-01-01T00:00:00+00:01",
       }) {
    CAPTURE(text);
    const auto time = parse_rfc3339(text);
    REQUIRE_FALSE(time);
    CHECK(time.error().code == Errc::malformed);
  }
}

TEST_CASE("every prefix of a time is malformed") {
  const std::string text = "2026-11-20T13:00:00.123+01:00";
  for (std::size_t n = 0; n < text.size(); ++n) {
    CAPTURE(n);
    CHECK_FALSE(parse_rfc3339(std::string_view(text).substr(0, n)));
  }
}

TEST_CASE("a leap year is one in four, not one in a hundred, but one in four hundred") {
  for (const auto& [year, leap] : std::vector<std::pair<std::string, bool>>{{"1996", true},
                                                                            {"1999", false},
                                                                            {"2000", true},
                                                                            {"2023", false},
                                                                            {"2024", true},
                                                                            {"2200", false},
                                                                            {"2400", true}}) {
    CAPTURE(year);
    CHECK(parse_rfc3339(year + "-02-29T00:00:00Z").has_value() == leap);
    CHECK(parse_rfc3339(year + "-02-28T00:00:00Z").has_value());
  }
}

TEST_CASE("every time of four-digit years survives text and back, at any offset") {
  CHECK(rc::check("times", [] {
    const WallTime t =
        from_unix_ms(*rc::gen::inRange<std::int64_t>(-62'135'596'800'000, 253'402'214'400'000));
    const auto back = parse_rfc3339(format_rfc3339(t));
    RC_ASSERT(back.has_value());
    RC_ASSERT(*back == t);
    const int minutes = *rc::gen::inRange(0, 24 * 60);
    std::string shifted = format_rfc3339(t);
    shifted.back() = '-';
    shifted += std::to_string(minutes / 600) + std::to_string(minutes / 60 % 10) + ":" +
               std::to_string(minutes % 60 / 10) + std::to_string(minutes % 10);
    const auto west = parse_rfc3339(shifted);
    RC_ASSERT(west.has_value());
    RC_ASSERT(*west == t + std::chrono::minutes{minutes});
  }));
}

TEST_CASE("dates of mails are written as RFC 5322, UTC") {
  struct Row {
    std::int64_t ms;
    const char* text;
  };
  for (const Row& row : std::vector<Row>{
           {0, "Thu, 01 Jan 1970 00:00:00 +0000"},
           {-1, "Wed, 31 Dec 1969 23:59:59 +0000"},
           {k_noon, "Fri, 20 Nov 2026 12:00:00 +0000"},
           {k_noon + 999, "Fri, 20 Nov 2026 12:00:00 +0000"},
           {951'782'400'000, "Tue, 29 Feb 2000 00:00:00 +0000"},
           {1'709'251'199'999, "Thu, 29 Feb 2024 23:59:59 +0000"},
           {1'735'689'599'000, "Tue, 31 Dec 2024 23:59:59 +0000"},
           {k_noon + 1 * 86'400'000, "Sat, 21 Nov 2026 12:00:00 +0000"},
           {k_noon + 2 * 86'400'000, "Sun, 22 Nov 2026 12:00:00 +0000"},
           {k_noon + 3 * 86'400'000, "Mon, 23 Nov 2026 12:00:00 +0000"},
       }) {
    CHECK(format_rfc5322(from_unix_ms(row.ms)) == row.text);
  }
}

TEST_CASE("all months have their RFC 5322 names") {
  const std::vector<std::string> names{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string month = std::to_string((i + 1) / 10) + std::to_string((i + 1) % 10);
    const auto t = parse_rfc3339("2026-" + month + "-09T01:02:03Z");
    REQUIRE(t);
    CHECK(format_rfc5322(*t).substr(5) == "09 " + names[i] + " 2026 01:02:03 +0000");
  }
}

}  // namespace
}  // namespace mailotp::core
