#include "core/code.h"

#include <array>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <rapidcheck.h>

#include "tests/core/random_sources.h"

namespace mailotp::core {
namespace {

using test::ScriptedRandom;
using test::SeededRandom;

constexpr std::array k_alphabets{Alphabet::digits, Alphabet::crockford32, Alphabet::alphanumeric};

TEST_CASE("alphabets have their words and symbols") {
  CHECK(symbols(Alphabet::digits) == "0123456789");
  CHECK(symbols(Alphabet::crockford32).size() == 32);
  CHECK(symbols(Alphabet::crockford32).find_first_of("ILOU") == std::string_view::npos);
  CHECK(symbols(Alphabet::alphanumeric).size() == 31);
  CHECK(symbols(Alphabet::alphanumeric).find_first_of("0O1IL") == std::string_view::npos);
  for (const Alphabet alphabet : k_alphabets) {
    const std::string_view all = symbols(alphabet);
    CHECK(std::set<char>(all.begin(), all.end()).size() == all.size());
    CHECK(all.find_first_not_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == std::string_view::npos);
    CHECK(parse_alphabet(to_string(alphabet)).value() == alphabet);
  }
  for (const std::string word : {"", "Digits", "crockford", "hex", "digits "}) {
    CAPTURE(word);
    CHECK(parse_alphabet(word).error().code == Errc::invalid);
  }
}

// Pearson's statistic over `counts`, all equally likely.
double chi_square(const std::vector<int>& counts, int total) {
  const double expected = static_cast<double>(total) / static_cast<double>(counts.size());
  double sum = 0;
  for (const int n : counts)
    sum += (n - expected) * (n - expected) / expected;
  return sum;
}

TEST_CASE("every symbol is equally likely at every place") {
  // Critical values of chi-square at p = 0.001: the seed is fixed, so a pass stays a pass.
  const std::map<Alphabet, double> critical{
      {Alphabet::digits, 27.877},        // 9 degrees of freedom
      {Alphabet::crockford32, 61.098},   // 31
      {Alphabet::alphanumeric, 59.703},  // 30
  };
  constexpr int k_codes = 20000;
  for (const Alphabet alphabet : k_alphabets) {
    SeededRandom random(20261120);
    const CodeSpec spec{.length = 6, .alphabet = alphabet};
    const std::string_view all = symbols(alphabet);
    std::vector<std::vector<int>> counts(6, std::vector<int>(all.size()));
    for (int i = 0; i < k_codes; ++i) {
      const Secret code = make_code(spec, random);
      for (std::size_t place = 0; place < 6; ++place)
        ++counts[place][all.find(code.reveal()[place])];
    }
    for (std::size_t place = 0; place < 6; ++place) {
      CAPTURE(to_string(alphabet), place);
      CHECK(chi_square(counts[place], k_codes) < critical.at(alphabet));
    }
  }
}

TEST_CASE("neighbouring digits do not depend on each other") {
  SeededRandom random(7);
  constexpr int k_codes = 40000;
  std::vector<int> pairs(100);
  for (int i = 0; i < k_codes; ++i) {
    const Secret code = make_code({}, random);
    ++pairs[static_cast<std::size_t>((code.reveal()[2] - '0') * 10 + (code.reveal()[3] - '0'))];
  }
  CHECK(chi_square(pairs, k_codes) < 148.230);  // 99 degrees of freedom, p = 0.001
}

TEST_CASE("codes have the length asked for and keep leading zeros") {
  SeededRandom random(8);
  for (int length = k_min_code_length; length <= k_max_code_length; ++length) {
    for (const Alphabet alphabet : k_alphabets) {
      const Secret code = make_code({.length = length, .alphabet = alphabet}, random);
      CHECK(code.size() == static_cast<std::size_t>(length));
      CHECK(code.reveal().find_first_not_of(symbols(alphabet)) == std::string_view::npos);
    }
  }
  ScriptedRandom zeros({});
  CHECK(make_code({}, zeros).reveal() == "000000");
  int leading = 0;
  for (int i = 0; i < 1000; ++i)
    leading += make_code({}, random).reveal().front() == '0' ? 1 : 0;
  CHECK(leading > 60);
  CHECK(leading < 140);
}

TEST_CASE("the code is what the source says, symbol by symbol") {
  ScriptedRandom random({3, 1, 4, 1, 5, 9, 0xffffffff});
  CHECK(make_code({}, random).reveal() == "314159");
  CHECK(random.bytes_taken() == 24);
}

TEST_CASE("a number that would favour small results is thrown away") {
  SECTION("2^32 is 429496729 tens and six") {
    ScriptedRandom random({0xfffffffa, 0xfffffffb, 0xfffffffc, 0xfffffffd, 0xfffffffe, 0xffffffff, 17});
    CHECK(uniform_below(random, 10) == 7);
    CHECK(random.bytes_taken() == 28);
  }
  SECTION("the last number that fits is taken") {
    ScriptedRandom random({0xfffffff9, 3});
    CHECK(uniform_below(random, 10) == 9);
    CHECK(random.bytes_taken() == 4);
  }
  SECTION("a bound over half of the range: the upper part is all thrown away") {
    ScriptedRandom random({0x80000001, 0xffffffff, 0x80000000});
    CHECK(uniform_below(random, 0x80000001) == 0x80000000);
    CHECK(random.bytes_taken() == 12);
  }
  SECTION("a power of two throws nothing away") {
    ScriptedRandom random({0xffffffff});
    CHECK(uniform_below(random, 32) == 31);
    CHECK(random.bytes_taken() == 4);
  }
  SECTION("one has one answer") {
    ScriptedRandom random({0xffffffff});
    CHECK(uniform_below(random, 1) == 0);
  }
  SECTION("the largest bound") {
    ScriptedRandom random({0xffffffff, 0xfffffffe});
    CHECK(uniform_below(random, 0xffffffff) == 0xfffffffe);
  }
}

// With the remainder alone the lower third would come up half of the time.
TEST_CASE("two thirds of the range as bound show no bias") {
  SeededRandom random(9);
  constexpr std::uint32_t k_bound = 0xaaaaaaaa;
  constexpr int k_draws = 30000;
  std::vector<int> thirds(3);
  for (int i = 0; i < k_draws; ++i) {
    const std::uint32_t value = uniform_below(random, k_bound);
    REQUIRE(value < k_bound);
    ++thirds[value / (k_bound / 3 + 1)];
  }
  CHECK(chi_square(thirds, k_draws) < 13.816);  // 2 degrees of freedom, p = 0.001
}

TEST_CASE("entropy and the floor") {
  struct Row {
    int length;
    Alphabet alphabet;
    double bits;
    bool passes_default_floor;
  };
  for (const Row& row : std::vector<Row>{
           {3, Alphabet::crockford32, 15.0, false},
           {4, Alphabet::digits, 13.288, false},
           {5, Alphabet::digits, 16.610, false},
           {6, Alphabet::digits, 19.932, true},
           {8, Alphabet::digits, 26.575, true},
           {12, Alphabet::digits, 39.863, true},
           {4, Alphabet::crockford32, 20.0, true},
           {12, Alphabet::crockford32, 60.0, true},
           {4, Alphabet::alphanumeric, 19.817, false},
           {5, Alphabet::alphanumeric, 24.771, true},
       }) {
    CAPTURE(row.length, to_string(row.alphabet));
    const CodeSpec spec{.length = row.length, .alphabet = row.alphabet};
    CHECK(entropy_bits(spec) == Approx(row.bits).margin(0.001));
    const auto checked = check_code_spec(spec, k_default_entropy_floor);
    CHECK(checked.has_value() == row.passes_default_floor);
    if (!checked) CHECK(checked.error().code == Errc::invalid);
  }
}

TEST_CASE("lengths outside 4 to 12 are refused whatever the floor") {
  for (const int length : {-1, 0, 1, 3, 13, 100}) {
    CAPTURE(length);
    CHECK(check_code_spec({.length = length, .alphabet = Alphabet::crockford32}, 0).error().code ==
          Errc::invalid);
  }
  CHECK(check_code_spec({.length = 4}, 0).has_value());
  CHECK(check_code_spec({.length = 4}, 13.2).has_value());
  CHECK_FALSE(check_code_spec({.length = 4}, 13.3).has_value());
  CHECK_FALSE(check_code_spec({.length = 12, .alphabet = Alphabet::crockford32}, 60.1).has_value());
}

TEST_CASE("what a person types is brought into the form of codes") {
  struct Row {
    Alphabet alphabet;
    std::string typed, compared;
  };
  const auto digits = Alphabet::digits, crockford = Alphabet::crockford32, letters = Alphabet::alphanumeric;
  for (const Row& row : std::vector<Row>{
           {digits, "123456", "123456"},
           {digits, "123 456", "123456"},
           {digits, " 1 2-3\t4--56 ", "123456"},
           {digits, "000123", "000123"},
           {digits, "", ""},
           {digits, " - ", ""},
           {digits, "12345O", "12345O"},  // no look-alikes where there are no letters
           {digits, "l23456", "l23456"},
           {digits, "1234567", "1234567"},
           {digits, "123.456", "123.456"},
           {digits, "\xef\xbc\x91", "\xef\xbc\x91"},
           {digits,
            std::string("12\0"
                        "34",
                        5),
            std::string("12\0"
                        "34",
                        5)},
           {crockford, "abcd-efgh", "ABCDEFGH"},
           {crockford, "oO0 iI1 lL", "00011111"},
           {crockford, "uU", "UU"},  // not Crockford's: matches nothing
           {crockford, "zZ9", "ZZ9"},
           {letters, "k7-m2 xq", "K7M2XQ"},
           {letters, "oil01", "OIL01"},  // not in the alphabet: matches nothing
           {letters, "\xc3\xa4", "\xc3\xa4"},
       }) {
    CAPTURE(to_string(row.alphabet), row.typed);
    CHECK(normalise_typed(row.typed, row.alphabet).reveal() == row.compared);
  }
}

TEST_CASE("a code typed with any spacing and case is the code, and normalising twice changes nothing") {
  CHECK(rc::check("typed codes", [] {
    const Alphabet alphabet =
        *rc::gen::elementOf(std::vector<Alphabet>(k_alphabets.begin(), k_alphabets.end()));
    SeededRandom random(*rc::gen::arbitrary<std::uint64_t>());
    const CodeSpec spec{.length = *rc::gen::inRange(k_min_code_length, k_max_code_length + 1),
                        .alphabet = alphabet};
    const Secret code = make_code(spec, random);
    std::string typed;
    for (const char c : code.reveal()) {
      typed += *rc::gen::element<std::string>("", "", " ", "-", " - ");
      typed += *rc::gen::arbitrary<bool>() && c >= 'A' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    const Secret once = normalise_typed(typed, alphabet);
    RC_ASSERT(once.reveal() == code.reveal());
    RC_ASSERT(normalise_typed(once.reveal(), alphabet).reveal() == once.reveal());
  }));
}

}  // namespace
}  // namespace mailotp::core
