// What a terminal may be given, and how long things are.
#include "ctl/text.h"

#include <array>
#include <string>

#include <catch2/catch.hpp>

#include "ctl/table.h"

namespace mailotp::ctl {
namespace {

using core::Seconds;

TEST_CASE("text: what could steer a terminal is escaped, other text stays") {
  CHECK(printable("plain 100% \\x") == "plain 100% \\x");
  CHECK(printable("Grüße 日本 🙂") == "Grüße 日本 🙂");
  CHECK(printable("\x1b[31mred\x1b[0m") == "\\x1b[31mred\\x1b[0m");
  CHECK(printable("a\r\n\tb\x7f") == "a\\x0d\\x0a\\x09b\\x7f");
  CHECK(printable(std::string_view("a\0b", 3)) == "a\\x00b");
  CHECK(printable("\xc2\x9b"
                  "31m") == "\\x9b31m");  // CSI as one C1 character
  CHECK(printable("\xe2\x80\xaegpj.exe") == "\\u{202e}gpj.exe");
  CHECK(printable("a\xe2\x80\xa8"
                  "b") == "a\\u{2028}b");
}

TEST_CASE("text: bytes that are no UTF-8 are escaped one by one") {
  CHECK(printable("\xff\xfe") == "\\xff\\xfe");
  CHECK(printable("\xc3") == "\\xc3");
  CHECK(printable("\xc3(") == "\\xc3(");
  CHECK(printable("\xc0\x9b") == "\\xc0\\x9b");                    // overlong
  CHECK(printable("\xe0\x80\x9b") == "\\xe0\\x80\\x9b");           // overlong
  CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");           // surrogate
  CHECK(printable("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");  // above U+10FFFF
  CHECK(printable("\xf0\x9f\x99") == "\\xf0\\x9f\\x99");
}

TEST_CASE("text: wide characters take two columns, marks over others none") {
  CHECK(columns_of("abc") == 3);
  CHECK(columns_of("Grüße") == 5);
  CHECK(columns_of("日本") == 4);
  CHECK(columns_of("🙂") == 2);
  CHECK(columns_of("e\xcc\x81") == 1);  // e and a combining acute accent
  CHECK(cut("日本語", 6) == "日本語");
  CHECK(cut("日本語", 5) == "日本…");
  CHECK(cut("日本語", 4) == "日…");  // half a character is none
  CHECK(cut("日本語", 1) == "…");
  CHECK(columns_of(cut("a日本語", 4)) <= 4);
}

TEST_CASE("text: a line in columns is as wide on the terminal, whatever its characters are") {
  constexpr std::array<Column, 2> k_columns{{{"WHO", 8, 8, 1}, {"WHAT", 4, 4, 2}}};
  const Table table(k_columns, {14, false, {}});
  for (const std::string who :
       {"alice", "日本語", "日本語日本語", "é\u0300ñ\u0300", "🙂🙂🙂🙂🙂"}) {
    const std::string line = table.row({{who}, {"x"}});
    CHECK(columns_of(line.substr(0, line.find('x'))) == 10);
  }
}

TEST_CASE("text: lines stay lines where they are wanted") {
  CHECK(printable_lines("a\n\tb\x1b[0m\r\n") == "a\n\tb\\x1b[0m\\x0d\n");
}

TEST_CASE("text: cutting keeps characters whole") {
  CHECK(cut("abcdef", 6) == "abcdef");
  CHECK(cut("abcdef", 5) == "abcd…");
  CHECK(cut("äöüäöü", 4) == "äöü…");
  CHECK(cut("äöü", 3) == "äöü");
  CHECK(cut("abc", 1) == "…");
  CHECK(columns_of("äöü…") == 4);
}

TEST_CASE("text: ages have at most two units and six columns") {
  CHECK(age(Seconds{-5}) == "0s");
  CHECK(age(Seconds{0}) == "0s");
  CHECK(age(Seconds{59}) == "59s");
  CHECK(age(Seconds{60}) == "1m");
  CHECK(age(Seconds{192}) == "3m12s");
  CHECK(age(Seconds{3599}) == "59m59s");
  CHECK(age(Seconds{3600}) == "1h");
  CHECK(age(Seconds{86'399}) == "23h59m");
  CHECK(age(Seconds{86'400}) == "1d");
  CHECK(age(Seconds{100 * 86'400 - 1}) == "99d23h");
  CHECK(age(Seconds{100 * 86'400}) == "100d");
  CHECK(age(Seconds{400 * 86'400}) == "400d");
}

constexpr std::array<Column, 3> k_columns{
    {{"NAME", 4, 8, 1}, {"N", 3, 3, 3, Align::right}, {"TEXT", 5, 20, 2}}};

TEST_CASE("table: a narrow screen loses its least important columns, a wide one gives room") {
  const std::vector<Cell> cells{{"abcdefghij", Colour::good}, {"42"}, {"a longer text"}};
  const auto on = [&cells](std::size_t width, bool colour) {
    const Table table(k_columns, Screen{width, colour, {}});
    return table.head() + table.row(cells);
  };
  CHECK(on(0, false) == "NAME        N  TEXT\nabcdefghij   42  a longer text\n");
  CHECK(on(2, false) == "NAME\nabc…\n");
  CHECK(on(11, false) == "NAME  TEXT\nabc…  a lo…\n");
  CHECK(on(15, false) == "NAME      TEXT\nabcdefg…  a lo…\n");
  CHECK(on(16, false) == "NAME    N  TEXT\nabc…   42  a lo…\n");
  CHECK(on(40, false) == "NAME        N  TEXT\nabcdefg…   42  a longer text\n");
  CHECK(on(11, true) == "NAME  TEXT\n\x1b[32mabc…\x1b[0m  a lo…\n");
}

}  // namespace
}  // namespace mailotp::ctl
