#include "mail/compose/visible_text.h"

#include <algorithm>
#include <array>

namespace mailotp::mail {

namespace {

constexpr std::array<std::string_view, 22> k_blocks{
    "address", "body", "br", "caption", "dd", "div", "dt",  "footer", "h1", "h2",    "h3",
    "h4",      "head", "hr", "html",    "li", "p",   "pre", "table",  "td", "title", "tr"};
constexpr std::size_t k_shortest_code = 4;
constexpr std::size_t k_longest_code = 12;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// "div" of "</DIV class=x"; `tag` starts behind the "<".
std::string tag_name(std::string_view tag) {
  std::string name;
  for (const char c : tag.substr(tag.starts_with('/') ? 1 : 0)) {
    if (c >= 'A' && c <= 'Z')
      name += static_cast<char>(c - 'A' + 'a');
    else if ((c >= 'a' && c <= 'z') || is_digit(c))
      name += c;
    else
      break;
  }
  return name;
}

// Where the text goes on behind `end`; at the end of all if it is not there.
std::size_t behind(std::string_view text, std::string_view end, std::size_t from) {
  const std::size_t found = text.find(end, from);
  return found == std::string_view::npos ? text.size() : found + end.size();
}

std::size_t digits_from(std::string_view text, std::size_t pos) {
  std::size_t end = pos;
  while (end < text.size() && is_digit(text[end]))
    ++end;
  return end - pos;
}

}  // namespace

std::string visible_text(std::string_view html) {
  std::string visible;
  for (std::size_t pos = 0; pos < html.size();) {
    const std::string_view rest = html.substr(pos);
    if (rest.starts_with("<!--")) {
      pos = behind(html, "-->", pos);
    } else if (rest.starts_with('<')) {
      const std::string name = tag_name(rest.substr(1));
      pos = behind(html, ">", pos);
      if (!rest.starts_with("</") && (name == "style" || name == "script"))
        pos = behind(html, "</" + name + ">", pos);
      if (std::binary_search(k_blocks.begin(), k_blocks.end(), name)) visible += '\n';
    } else if (rest.starts_with('&') && rest.substr(0, 12).find(';') != std::string_view::npos) {
      visible += '?';
      pos = behind(html, ";", pos);
    } else {
      visible += rest.front();
      ++pos;
    }
  }
  return visible;
}

std::vector<std::string> code_like_numbers(std::string_view text) {
  std::vector<std::string> numbers;
  for (std::size_t pos = 0; pos < text.size();) {
    std::size_t group = digits_from(text, pos);
    if (group == 0) {
      ++pos;
      continue;
    }
    const std::size_t start = pos;
    std::size_t digits = group;
    pos += group;
    while (group >= 2 && pos + 1 < text.size() && (text[pos] == ' ' || text[pos] == '-')) {
      const std::size_t next = digits_from(text, pos + 1);
      if (next < 2) break;
      pos += 1 + next;
      digits += next;
      group = next;
    }
    if (digits >= k_shortest_code && digits <= k_longest_code)
      numbers.emplace_back(text.substr(start, pos - start));
  }
  return numbers;
}

}  // namespace mailotp::mail
