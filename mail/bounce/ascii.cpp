#include "mail/bounce/ascii.h"

#include <algorithm>
#include <cstring>

namespace mailotp::mail {
namespace {

constexpr CharSet k_line_ends("\r\n");

}  // namespace

bool istarts_with(std::string_view text, std::string_view lower_case) {
  if (text.size() < lower_case.size()) return false;
  for (std::size_t i = 0; i < lower_case.size(); ++i) {
    if (lower(text[i]) != lower_case[i]) return false;
  }
  return true;
}

bool iequals(std::string_view text, std::string_view lower_case) {
  return text.size() == lower_case.size() && istarts_with(text, lower_case);
}

std::size_t ifind(std::string_view text, std::string_view lower_case, std::size_t from) {
  if (lower_case.empty() || text.size() < lower_case.size()) return std::string_view::npos;
  const char first = lower_case.front();
  const std::size_t last = text.size() - lower_case.size();
  for (std::size_t i = from; i <= last; ++i) {
    if (lower(text[i]) == first && istarts_with(text.substr(i + 1), lower_case.substr(1))) return i;
  }
  return std::string_view::npos;
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front()))
    text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back()))
    text.remove_suffix(1);
  return text;
}

Lines::Lines(std::string_view text) : text_(text) {
  std::size_t end = k_line_ends.find_in(text);
  if (end == std::string_view::npos || text[end] == '\n') return;
  end = text.find_first_not_of('\r', end);
  bare_cr_ = end != std::string_view::npos && text[end] != '\n';
}

std::size_t Lines::end_of_line() const {
  if (bare_cr_) return std::min(k_line_ends.find_in(text_, position_), text_.size());
  const void* found = std::memchr(text_.data() + position_, '\n', text_.size() - position_);
  if (found == nullptr) return text_.size();
  return static_cast<std::size_t>(static_cast<const char*>(found) - text_.data());
}

bool Lines::next(std::string_view& line) {
  if (position_ >= text_.size()) return false;
  const std::size_t end = end_of_line();
  line = text_.substr(position_, end - position_);
  position_ = std::min(end + 1, text_.size());
  if (bare_cr_ && end + 1 < text_.size() && text_[end] == '\r' && text_[end + 1] == '\n') ++position_;
  while (!line.empty() && line.back() == '\r')
    line.remove_suffix(1);
  return true;
}

}  // namespace mailotp::mail
