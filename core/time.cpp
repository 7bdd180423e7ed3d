#include "core/time.h"

#include <array>
#include <charconv>

#include <fmt/format.h>

namespace mailotp::core {

namespace {

using std::chrono::days;
using std::chrono::floor;
using std::chrono::hh_mm_ss;
using std::chrono::sys_days;
using std::chrono::weekday;
using std::chrono::year_month_day;

// `width` digits at `at`, or -1.
int digits_at(std::string_view text, std::size_t at, std::size_t width) {
  if (at + width > text.size()) return -1;
  int value = 0;
  for (std::size_t i = at; i < at + width; ++i) {
    if (text[i] < '0' || text[i] > '9') return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

constexpr std::size_t k_rfc3339_size = 24;
constexpr std::size_t k_rfc5322_size = 31;

// Appends `value`, not negative, with at least `width` digits. By hand: each answer has several times, and
// fmt takes five times as long for one.
void append_digits(std::string& out, std::int64_t value, std::size_t width) {
  std::array<char, 20> digits{};
  std::size_t at = digits.size();
  for (; value > 0 || digits.size() - at < width; value /= 10)
    digits[--at] = static_cast<char>('0' + value % 10);
  out.append(&digits[at], digits.size() - at);
}

void append_year(std::string& out, std::chrono::year year) {
  const int number = static_cast<int>(year);
  if (number < 0)
    out += fmt::format("{:04}", number);
  else
    append_digits(out, number, 4);
}

void append_clock(std::string& out, const hh_mm_ss<Millis>& clock) {
  append_digits(out, clock.hours().count(), 2);
  out += ':';
  append_digits(out, clock.minutes().count(), 2);
  out += ':';
  append_digits(out, clock.seconds().count(), 2);
}

}  // namespace

std::string format_rfc3339(WallTime t) {
  const sys_days day = floor<days>(t);
  const year_month_day date{day};
  const hh_mm_ss<Millis> clock{t - day};
  std::string out;
  out.reserve(k_rfc3339_size);
  append_year(out, date.year());
  out += '-';
  append_digits(out, static_cast<unsigned>(date.month()), 2);
  out += '-';
  append_digits(out, static_cast<unsigned>(date.day()), 2);
  out += 'T';
  append_clock(out, clock);
  out += '.';
  append_digits(out, clock.subseconds().count(), 3);
  out += 'Z';
  return out;
}

std::string format_rfc5322(WallTime t) {
  static constexpr std::array k_days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array k_months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const sys_days day = floor<days>(t);
  const year_month_day date{day};
  std::string out = k_days[weekday{day}.c_encoding()];
  out.reserve(k_rfc5322_size);
  out += ", ";
  append_digits(out, static_cast<unsigned>(date.day()), 2);
  out += ' ';
  out += k_months[static_cast<unsigned>(date.month()) - 1];
  out += ' ';
  append_year(out, date.year());
  out += ' ';
  append_clock(out, hh_mm_ss<Millis>{t - day});
  out += " +0000";
  return out;
}

Result<WallTime> parse_rfc3339(std::string_view text) {
  const auto bad = [] { return fail(Errc::malformed, "not an RFC 3339 time such as 2026-11-20T12:00:00Z"); };
  const int year = digits_at(text, 0, 4), month = digits_at(text, 5, 2), day = digits_at(text, 8, 2);
  const int hour = digits_at(text, 11, 2), minute = digits_at(text, 14, 2), second = digits_at(text, 17, 2);
  if (year < 0 || month < 0 || day < 0 || hour < 0 || minute < 0 || second < 0 || text.size() < 20)
    return bad();
  if (text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't') || text[13] != ':' ||
      text[16] != ':')
    return bad();
  const year_month_day date{std::chrono::year{year}, std::chrono::month{static_cast<unsigned>(month)},
                            std::chrono::day{static_cast<unsigned>(day)}};
  // A leap second (60) is taken as the first instant of the next minute.
  if (!date.ok() || hour > 23 || minute > 59 || second > 60) return bad();

  std::size_t at = 19;
  int millis = 0;
  if (text[at] == '.') {
    const std::size_t first = ++at;
    int scale = 100;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
      millis += (text[at] - '0') * scale;
      scale /= 10;
      ++at;
    }
    if (at == first) return bad();
  }
  std::chrono::minutes offset{0};
  if (at < text.size() && (text[at] == 'Z' || text[at] == 'z')) {
    ++at;
  } else if (at < text.size() && (text[at] == '+' || text[at] == '-')) {
    const int oh = digits_at(text, at + 1, 2), om = digits_at(text, at + 4, 2);
    if (oh < 0 || om < 0 || oh > 23 || om > 59 || text[at + 3] != ':') return bad();
    offset = std::chrono::minutes{(text[at] == '-' ? -1 : 1) * (oh * 60 + om)};
    at += 6;
  } else {
    return bad();
  }
  if (at != text.size()) return bad();
  const WallTime time = WallTime{sys_days{date}} + std::chrono::hours{hour} + std::chrono::minutes{minute} +
                        Seconds{second} + Millis{millis} - offset;
  // The offset may lead out of the years that format_rfc3339 can write with four digits.
  constexpr WallTime k_first = sys_days{std::chrono::year{0} / 1 / 1};
  constexpr WallTime k_end = sys_days{std::chrono::year{10'000} / 1 / 1};
  if (time < k_first || time >= k_end) return bad();
  return time;
}

}  // namespace mailotp::core
