// Comparing and cutting bytes of a mail. ASCII letters only: names and keywords of mail are ASCII, and other
// bytes of whatever encoding are compared as they are. No allocation.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace mailotp::mail {

constexpr char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}
constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
constexpr bool is_alpha(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
constexpr bool is_alnum(char c) {
  return is_alpha(c) || is_digit(c);
}
constexpr bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v' || c == '\0';
}

// A set of bytes, asked for each byte of a text: many times faster than string_view::find_first_of.
class CharSet {
 public:
  explicit constexpr CharSet(std::string_view chars) {
    for (const char c : chars)
      has_[static_cast<unsigned char>(c)] = true;
  }
  [[nodiscard]] constexpr bool has(char c) const { return has_[static_cast<unsigned char>(c)]; }
  // The first byte of the set at or after `from`; npos when there is none.
  [[nodiscard]] constexpr std::size_t find_in(std::string_view text, std::size_t from = 0) const {
    for (std::size_t i = from; i < text.size(); ++i) {
      if (has(text[i])) return i;
    }
    return std::string_view::npos;
  }
  // Where the bytes of the set that `text` begins with end.
  [[nodiscard]] constexpr std::size_t skip(std::string_view text, std::size_t from = 0) const {
    while (from < text.size() && has(text[from]))
      ++from;
    return from;
  }

 private:
  std::array<bool, 256> has_{};
};

// The second argument of each is in lower case already.
[[nodiscard]] bool iequals(std::string_view text, std::string_view lower_case);
[[nodiscard]] bool istarts_with(std::string_view text, std::string_view lower_case);
[[nodiscard]] std::size_t ifind(std::string_view text, std::string_view lower_case, std::size_t from = 0);
[[nodiscard]] inline bool icontains(std::string_view text, std::string_view lower_case) {
  return ifind(text, lower_case) != std::string_view::npos;
}
// Both in any case.
[[nodiscard]] bool same_ignoring_case(std::string_view a, std::string_view b);

[[nodiscard]] std::string_view trim(std::string_view text);

// The lines of a text without their ends: LF, CRLF, or CR where the first line ends in a bare one.
class Lines {
 public:
  explicit Lines(std::string_view text);
  // False at the end. A last line without an end counts, an empty rest does not.
  [[nodiscard]] bool next(std::string_view& line);
  [[nodiscard]] std::size_t position() const { return position_; }  // where the next line begins
  void move_to(std::size_t position) { position_ = position; }

 private:
  [[nodiscard]] std::size_t end_of_line() const;

  std::string_view text_;
  std::size_t position_ = 0;
  bool bare_cr_ = false;
};

}  // namespace mailotp::mail
